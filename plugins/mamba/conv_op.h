#pragma once

#include <ATen/core/Tensor.h>

namespace colonnade::mamba {

/// Whether `conv_silu` has kernels for these: float or double on the processor, at most kMaxConvWidth taps, and no
/// state where gradients are wanted.
bool has_conv_kernel(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias, const at::Tensor& before);

/// silu(conv(x)) of causal_conv.h, differentiable in x [B, L, D], taps [D, width] and bias [D]; bias and before
/// [B, width - 1, D] may be undefined.
at::Tensor conv_silu(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias, const at::Tensor& before);

}  // namespace colonnade::mamba
