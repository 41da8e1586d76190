#pragma once

#include "colonnade/tensor/tensor.h"

namespace colonnade {

// An S that is zero everywhere and takes no memory, of a site whose weight is all in U Vᵀ or in an adapter. It reads like
// any tensor of zeros; it is stored as nothing, and the runner leaves its product out.
Tensor empty_weight(at::IntArrayRef shape, at::ScalarType type);
bool is_empty_weight(const Tensor& tensor);

}  // namespace colonnade
