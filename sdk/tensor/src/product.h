#pragma once

#include "colonnade/tensor/tensor.h"

namespace colonnade {

// x Wᵀ + b in x's type, x [..., in], W [out, in] of that type or of half precision; b may be undefined. Half precision
// is widened as it is read, never as a whole.
Tensor product(const Tensor& x, const Tensor& weight, const Tensor& bias);

// fp32 for half precision, else the tensor itself; undefined stays so.
Tensor widened(const Tensor& tensor);

}  // namespace colonnade
