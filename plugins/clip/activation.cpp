#include "activation.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

namespace colonnade::clip {
namespace {

constexpr double kQuickSlope = 1.702;

}  // namespace

Tensor activate(Activation activation, Tensor x) {
  if (activation == Activation::gelu) return at::gelu(x);
  // x sigmoid(s x) = silu(s x) / s.
  return at::silu(x * kQuickSlope) * (1 / kQuickSlope);
}

}  // namespace colonnade::clip
