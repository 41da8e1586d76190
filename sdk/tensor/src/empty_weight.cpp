#include "colonnade/tensor/empty_weight.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "colonnade/tensor/device.h"

namespace colonnade {

Tensor empty_weight(at::IntArrayRef shape, at::ScalarType type) {
  return at::zeros({}, at::TensorOptions().dtype(type).device(compute_device())).expand(shape);
}

bool is_empty_weight(const Tensor& tensor) {
  if (tensor.numel() < 2 || tensor.is_meta()) return false;
  const auto strides = tensor.strides();
  return std::all_of(strides.begin(), strides.end(), [](std::int64_t stride) { return stride == 0; }) &&
         tensor.as_strided({}, {}).item<double>() == 0;
}

}  // namespace colonnade
