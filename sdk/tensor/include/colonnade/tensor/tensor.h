#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "colonnade/random.h"
#include "colonnade/value.h"

namespace colonnade {

using Tensor = at::Tensor;
using NamedTensors = std::map<std::string, Tensor>;

// Shares the blob's memory, read-only: writing through the result faults where it is a mapping of the store. A copy where
// the process computes elsewhere than on the CPU (device.h), as are the random numbers below.
Tensor to_tensor(const Blob& blob);
// Shares the memory of a contiguous CPU tensor (which must not change afterwards), copies any other.
Blob to_blob(const Tensor& tensor);

at::ScalarType scalar_type(DType dtype);
DType dtype_of(at::ScalarType type);  // throws Error(input) for types the store does not know

// Tensors of counter-based random numbers: element i is stream.KIND(i), whatever threads or device.
Tensor random_uniform(const RandomStream& stream, at::IntArrayRef shape, at::ScalarType type = at::kFloat);
Tensor random_normal(const RandomStream& stream, at::IntArrayRef shape, at::ScalarType type = at::kFloat);
Tensor random_logistic(const RandomStream& stream, at::IntArrayRef shape, at::ScalarType type = at::kFloat);
Tensor random_gumbel(const RandomStream& stream, at::IntArrayRef shape, at::ScalarType type = at::kFloat);
// A permutation of 0..n-1, i64.
Tensor random_permutation(const RandomStream& stream, std::int64_t n);

// Throws Error(input) "NaN in <what>" if a floating tensor holds a NaN or an infinity.
void require_finite(const Tensor& tensor, const std::string& what);

}  // namespace colonnade
