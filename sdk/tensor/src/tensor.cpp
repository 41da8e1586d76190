#include "colonnade/tensor/tensor.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"

namespace colonnade {

namespace {

constexpr std::pair<DType, at::ScalarType> type_table[] = {
    {DType::boolean, at::kBool}, {DType::u8, at::kByte},    {DType::i8, at::kChar},  {DType::i16, at::kShort},
    {DType::i32, at::kInt},      {DType::i64, at::kLong},   {DType::f16, at::kHalf}, {DType::bf16, at::kBFloat16},
    {DType::f32, at::kFloat},    {DType::f64, at::kDouble},
};

constexpr std::int64_t random_grain = 4096;

template <typename Draw>
Tensor fill(at::IntArrayRef shape, at::ScalarType type, Draw draw) {
  // Drawn in double and rounded once, so that fp32 and fp64 models get the same numbers.
  Tensor result = at::empty(shape, at::TensorOptions().dtype(at::kDouble));
  double* out = result.data_ptr<double>();
  at::parallel_for(0, result.numel(), random_grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) out[i] = draw(static_cast<std::uint64_t>(i));
  });
  return result.to(type).to(compute_device());
}

}  // namespace

at::ScalarType scalar_type(DType dtype) {
  for (const auto& [ours, theirs] : type_table) {
    if (ours == dtype) return theirs;
  }
  throw Error(ErrorKind::input, "unknown element type");
}

DType dtype_of(at::ScalarType type) {
  for (const auto& [ours, theirs] : type_table) {
    if (theirs == type) return ours;
  }
  throw Error(ErrorKind::input, std::string("tensors of type ") + c10::toString(type) + " cannot be stored");
}

Tensor to_tensor(const Blob& blob) {
  return to_host_tensor(blob).to(compute_device());
}

Tensor to_host_tensor(const Blob& blob) {
  // ATen has no read-only tensors; the memory is mapped read-only, so a write faults and is reported.
  void* data = const_cast<std::byte*>(blob.data());
  auto owner = blob.owner();
  return at::from_blob(
      data, blob.shape(), [owner](void*) {}, at::TensorOptions().dtype(scalar_type(blob.dtype())));
}

Blob to_blob(const Tensor& tensor) {
  Tensor plain = tensor.detach().to(at::kCPU).contiguous();
  auto owner = std::make_shared<Tensor>(plain);
  return Blob::share(dtype_of(plain.scalar_type()), plain.sizes().vec(), plain.const_data_ptr(), owner);
}

Tensor random_uniform(const RandomStream& stream, at::IntArrayRef shape, at::ScalarType type) {
  return fill(shape, type, [&](std::uint64_t i) { return stream.uniform(i); });
}

Tensor random_normal(const RandomStream& stream, at::IntArrayRef shape, at::ScalarType type) {
  return fill(shape, type, [&](std::uint64_t i) { return stream.normal(i); });
}

Tensor random_logistic(const RandomStream& stream, at::IntArrayRef shape, at::ScalarType type) {
  return fill(shape, type, [&](std::uint64_t i) { return stream.logistic(i); });
}

Tensor random_gumbel(const RandomStream& stream, at::IntArrayRef shape, at::ScalarType type) {
  return fill(shape, type, [&](std::uint64_t i) { return stream.gumbel(i); });
}

Tensor random_permutation(const RandomStream& stream, std::int64_t n) {
  Tensor result = at::empty({n}, at::TensorOptions().dtype(at::kLong));
  auto* order = result.data_ptr<std::int64_t>();
  std::iota(order, order + n, 0);
  for (std::int64_t i = n - 1; i > 0; --i) {
    std::swap(order[i], order[stream.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(i) + 1)]);
  }
  return result;
}

void require_finite(const Tensor& tensor, const std::string& what) {
  if (!tensor.defined() || !tensor.is_floating_point()) return;
  if (at::isnan(tensor).any().item<bool>()) throw Error(ErrorKind::input, "NaN in " + what);
  if (!at::isfinite(tensor).all().item<bool>()) throw Error(ErrorKind::input, "an infinity in " + what);
}

}  // namespace colonnade
