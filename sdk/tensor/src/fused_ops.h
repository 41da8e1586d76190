// What the runner computes in one pass over memory where a device's plugin has kernels for it: primitives in LibTorch's
// dispatcher, namespace "colonnade", with the tensor ops that define them for every device, and gradients for both.
//
//   add_rms_norm            sum = residual + branch, normal = sum / rms(sum) * weight
//   causal_conv1d           y_t = bias + sum_k taps_k x_(t - width + 1 + k), and its silu
//   cross_entropy_gradient_ the loss of each row of logits, which its gradient takes the place of
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace colonnade {

constexpr std::int64_t widest_fused_convolution = 8;
constexpr std::int64_t widest_fused_norm = 8192;

// Whether the device's plugin has kernels for tensors like this one.
bool has_fused_ops(const at::Tensor& x);

// Whether a row of so many numbers is normalised in one pass: on a card as its kernels can, on the CPU always.
bool has_fused_norm(const at::Tensor& x, std::int64_t width);

// (sum, normal): residual [..., D] as fp32, or of the branch's type; branch like it, of any floating type, or
// undefined; weight [D]; the normal one has `type`.
std::tuple<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& residual, const at::Tensor& branch,
                                                const at::Tensor& weight, double epsilon, at::ScalarType type);

// silu of the causal depthwise convolution of x [B, L, D] with taps [D, width] and bias [D] (or undefined), both fp32.
at::Tensor causal_conv1d_silu(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias);

// Mean cross entropy of x weightᵀ against targets [rows] (-100: not scored), without ever holding all logits: x
// [rows, D], weight [V, D], products of `type`. Gradients are computed with the loss, in pieces of `piece` rows.
at::Tensor product_cross_entropy(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& targets,
                                 std::int64_t piece, at::ScalarType type);

}  // namespace colonnade
