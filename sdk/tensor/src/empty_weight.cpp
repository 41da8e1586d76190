#include "colonnade/tensor/empty_weight.h"

#include <ATen/Functions.h>

#include <algorithm>

namespace colonnade {

Tensor empty_weight(at::IntArrayRef shape, at::ScalarType type) {
  return at::zeros({}, type).expand(shape);
}

bool is_empty_weight(const Tensor& tensor) {
  if (tensor.numel() < 2 || !tensor.device().is_cpu()) return false;
  const auto strides = tensor.strides();
  return std::all_of(strides.begin(), strides.end(), [](std::int64_t stride) { return stride == 0; }) &&
         tensor.as_strided({}, {}).item<double>() == 0;
}

}  // namespace colonnade
