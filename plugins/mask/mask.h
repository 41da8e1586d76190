#pragma once

#include <memory>
#include <string>
#include <vector>

#include "colonnade/tensor/model.h"
#include "colonnade/tensor/selector.h"

namespace colonnade {

enum class Granularity { element, row, column, block };
enum class MaskNoise { logistic, gumbel };
enum class ThresholdRule { budget, zero };

Granularity granularity_from(const std::string& name);

struct MaskOptions {
  Granularity granularity = Granularity::element;
  std::int64_t block_rows = 8, block_columns = 8;
  MaskNoise noise = MaskNoise::logistic;
  double temperature = 0.5;
  double final_temperature = 0.5;  // reached exponentially at the end of a training
  bool straight_through = false;
  double logit_rate = 50;  // times the training's learning rate
};

// A learned mask of one site. L holds a logit for each element, row, column or block of the site's matrix.
//
//   training          M = σ((L + G) / τ), G logistic (log u − log(1 − u): the binary concrete relaxation of Maddison et
//                     al. and Jang et al., 2017) or one-sided Gumbel (−log(−log u), biased upwards: its mean is Euler's
//                     constant)
//   straight_through  forward 1(L + G > 0), gradient of the above
//   evaluation        M = `keep`, which the budget hook sets
//
// Rows that are not `active` (outside the selected parts) are always kept. Tensors: "logits", "keep" (bool, like
// logits), "mean" (like logits: the mean of M over the training steps so far) with "steps" (how many), "active" (bool
// [rows]), and for blocks "row_block" [rows], "column_block" [columns]: the block that each row and column belongs to,
// so that a permutation of the site moves the mask with it.
class MaskAdapter : public Adapter {
 public:
  virtual Tensor& logits() = 0;
  virtual Tensor& keep() = 0;
  // How many active elements of the site each logit decides about, shaped like the logits (f64).
  virtual Tensor governed() const = 0;
  // The mean of M over the training steps so far, shaped like the logits; undefined before the first.
  virtual Tensor sampled_mean() const = 0;
  virtual const SiteSpec& site() const = 0;
  // A tensor shaped like the logits, spread to the site's matrix [rows, columns].
  virtual Tensor spread(const Tensor& like_logits) const = 0;
  // bool [rows, columns]: elements that the mask may drop.
  virtual Tensor active_elements() const = 0;
};

// `initial` is every logit's start; a little noise of `random` (normal, standard deviation 0.01) separates them.
std::shared_ptr<Adapter> make_mask(const SiteSpec& site, const SelectedSite& selection, const MaskOptions& options,
                                   double initial, at::ScalarType type, const RandomStream& random);
AdapterType mask_type();
// The id of its type, without the format.
extern const char* const mask_adapter;

// For each logit the mean of `scores` [rows, columns] over the active elements that it decides about (f64); 0 where it
// decides about none.
Tensor pool(const MaskAdapter& mask, const Tensor& scores);

// The learned masks of a model, in its order.
std::vector<MaskAdapter*> masks_of(const Model& model);

// Share of elements that the masks drop: by expectation (1 − mean σ(L)) and by `keep`.
double soft_sparsity(const std::vector<MaskAdapter*>& masks);
double hard_sparsity(const std::vector<MaskAdapter*>& masks);

// Sets every mask's `keep`. Budget: the largest logits over all sites are kept until `target` of all elements is
// dropped; equal logits are settled by the model's order of sites, then by index, so the count is exact up to one
// logit's elements. Zero: keep = L > 0.
void decide(const std::vector<MaskAdapter*>& masks, ThresholdRule rule, double target);

// Keeps the highest scores over several tensors, as `decide` does. `governed` goes with `scores`; returns bools shaped
// like them. What governs nothing is kept. Throws Error(input) on a NaN.
std::vector<Tensor> keep_highest(const std::vector<Tensor>& scores, const std::vector<Tensor>& governed, double target);

}  // namespace colonnade
