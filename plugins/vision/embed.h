// Embeddings of whole data sets, by any model that gives them.
#pragma once

#include <string>
#include <vector>

#include "colonnade/op.h"
#include "colonnade/tensor/examples.h"
#include "colonnade/tensor/model.h"

namespace colonnade::vision {

/// Of every row of "pixels", [pictures, dimensions], computed by `batch` at a time, each once however many examples
/// take it.
Tensor picture_embeddings(const Model& model, const Examples& data, std::int64_t batch, OpContext& context);

/// Of texts "ids" [texts, L], [texts, dimensions].
Tensor text_embeddings(const Model& model, const Tensor& ids, std::int64_t batch);

/// Row i belongs to example i.
Tensor by_example(const Tensor& rows, const Examples& data, const std::string& name);

/// Throws Error(input) naming the op that makes such examples, unless they have the tensors.
void require_examples(const Examples& data, const std::vector<std::string>& rows,
                      const std::vector<std::string>& shared, const std::string& made_by);

/// The mean of values, with its standard error, count and the values themselves.
Scalar mean_of(const std::vector<double>& values, const std::string& unit, Better better);
std::vector<double> to_vector(const Tensor& values);

}  // namespace colonnade::vision
