#pragma once

#include <map>
#include <string>
#include <vector>

#include "colonnade/op.h"
#include "colonnade/tensor/model.h"
#include "colonnade/tensor/selector.h"
#include "colonnade/tokens.h"

namespace colonnade {

// A little text to look at models with: about `tokens` tokens in windows of `length`, spread evenly over the text, the
// same ones at every call. Batches hold "ids" and "targets". Throws Error(input) if the text is shorter than one
// window.
std::vector<Batch> calibration_batches(const Tokens& text, std::int64_t tokens, std::int64_t length);

// The batches of an op's optional input "data": of a text by its parameters `tokens` and `length`, of examples by
// `samples`; none without data.
std::vector<Batch> calibration_of(OpContext& context, at::ScalarType type);
// Windows of a text, or examples.
std::int64_t rows_of(const Batch& batch);

// ‖x‖₂ over all tokens of what each site is given, for each of its inputs: [columns] for linears, [rows] for
// convolutions (a channel's own input), f64. Throws Error(usage) for embeddings and vectors, which are given no
// activations.
std::map<std::string, Tensor> input_norms(const Model& model, const std::vector<std::string>& sites,
                                          const std::vector<Batch>& batches);

// Mean over tokens of 1 − cos(masked output, dense output) at each site; rows as selected, all by omission. The inputs
// differ too where an earlier site is masked: both models run on their own.
std::map<std::string, double> cosine_losses(const Model& dense, const Model& masked,
                                            const std::vector<SelectedSite>& sites, const std::vector<Batch>& batches);

// Mean loss in nats, evaluating.
double mean_loss(const Model& model, const std::vector<Batch>& batches);
// The same as training sees it at the end of a training: with sampled masks and dropout. Numbers of `random`.
double mean_training_loss(const Model& model, const std::vector<Batch>& batches, const RandomStream& random);

// ∂ loss / ∂ S of each site, summed over the batches and divided by their number, [rows, columns] f64.
std::map<std::string, Tensor> mean_gradients(const Model& model, const std::vector<std::string>& sites,
                                             const std::vector<Batch>& batches);

}  // namespace colonnade
