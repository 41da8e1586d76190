#include "product.h"

#include <ATen/Functions.h>

#include "thin_product.h"

namespace colonnade {

namespace {

constexpr std::int64_t elements_at_once = std::int64_t{1} << 22;

}  // namespace

Tensor widened(const Tensor& tensor) {
  return tensor.defined() && at::isReducedFloatingType(tensor.scalar_type()) ? tensor.to(at::kFloat) : tensor;
}

Tensor product(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (is_thin_product(x, weight, bias)) return thin_product(x, weight, bias);
  const bool half = at::isReducedFloatingType(weight.scalar_type()) && weight.scalar_type() != x.scalar_type();
  if (!half) return at::linear(x, weight, bias);
  if (weight.numel() <= elements_at_once) return at::linear(x, weight.to(x.scalar_type()), bias);
  const std::int64_t rows = std::max<std::int64_t>(1, elements_at_once / weight.size(1));
  auto shape = x.sizes().vec();
  shape.back() = weight.size(0);
  Tensor y = at::empty(shape, x.options());
  for (std::int64_t first = 0; first < weight.size(0); first += rows) {
    const std::int64_t count = std::min(rows, weight.size(0) - first);
    const Tensor part = weight.narrow(0, first, count).to(x.scalar_type());
    y.narrow(-1, first, count).copy_(at::linear(x, part, bias.defined() ? bias.narrow(0, first, count) : Tensor()));
  }
  return y;
}

}  // namespace colonnade
