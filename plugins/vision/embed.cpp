#include "embed.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numeric>

#include "colonnade/error.h"

namespace colonnade::vision {

Tensor picture_embeddings(const Model& model, const Examples& data, std::int64_t batch, OpContext& context) {
  const at::NoGradGuard no_gradients;
  const std::int64_t all = data.rows.at("pixels").size(0);
  std::vector<Tensor> parts;
  for (std::int64_t first = 0; first < all; first += batch) {
    std::vector<std::int64_t> rows(static_cast<std::size_t>(std::min(batch, all - first)));
    std::iota(rows.begin(), rows.end(), first);
    parts.push_back(model.forward({{{"pixels", data.take("pixels", rows, model.dtype())}}}));
    context.progress(first + static_cast<std::int64_t>(rows.size()), all, "pictures");
  }
  if (parts.empty()) throw Error(ErrorKind::input, "there is no picture to be embedded");
  return at::cat(parts).cpu();
}

Tensor text_embeddings(const Model& model, const Tensor& ids, std::int64_t batch) {
  const at::NoGradGuard no_gradients;
  const Tensor wide = ids.to(at::kLong);
  std::vector<Tensor> parts;
  for (std::int64_t first = 0; first < wide.size(0); first += batch) {
    parts.push_back(model.forward({{{"ids", wide.narrow(0, first, std::min(batch, wide.size(0) - first))}}}));
  }
  if (parts.empty()) throw Error(ErrorKind::input, "there is no text to be embedded");
  return at::cat(parts).cpu();
}

Tensor by_example(const Tensor& rows, const Examples& data, const std::string& name) {
  const auto found = data.index.find(name);
  return found == data.index.end() ? rows : rows.index_select(0, found->second.to(at::kLong));
}

void require_examples(const Examples& data, const std::vector<std::string>& rows,
                      const std::vector<std::string>& shared, const std::string& made_by) {
  const auto require = [&](const NamedTensors& tensors, const std::string& name) {
    if (tensors.contains(name)) return;
    throw Error(ErrorKind::input, "these examples have no '" + name + "'; examples for this are made by " + made_by);
  };
  for (const std::string& name : rows) require(data.rows, name);
  for (const std::string& name : shared) require(data.shared, name);
  if (data.count() == 0) throw Error(ErrorKind::input, "there are no examples to measure on");
}

Scalar mean_of(const std::vector<double>& values, const std::string& unit, Better better) {
  Scalar scalar;
  const auto n = static_cast<double>(values.size());
  scalar.value = std::accumulate(values.begin(), values.end(), 0.0) / n;
  scalar.n = static_cast<std::int64_t>(values.size());
  if (values.size() > 1) {
    double squares = 0;
    for (const double value : values) squares += (value - scalar.value) * (value - scalar.value);
    scalar.standard_error = std::sqrt(squares / (n - 1) / n);
  }
  scalar.unit = unit;
  scalar.better = better;
  scalar.per_example = values;
  return scalar;
}

std::vector<double> to_vector(const Tensor& values) {
  const Tensor plain = values.to(at::kDouble).contiguous();
  return {plain.const_data_ptr<double>(), plain.const_data_ptr<double>() + plain.numel()};
}

}  // namespace colonnade::vision
