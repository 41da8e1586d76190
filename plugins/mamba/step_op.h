// One new token's share of a Mamba block between its projections, on the CPU: each in one pass, with the state brought
// forward in it.
#pragma once

#include <ATen/core/Tensor.h>

#include "selective_scan.h"

namespace colonnade::mamba {

/// Whether `x` [B, L, ...] is one token of each sequence that there are kernels for, with no gradients wanted.
bool has_token_step(const at::Tensor& x, int64_t conv_width);

/// silu of the convolution of x [B, 1, D], taps [D, width], bias [D] or undefined, behind the inputs `past` [B, width -
/// 1, D], which move on.
at::Tensor conv_silu_step(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias, at::Tensor& past);

/// What goes into the scan: x, delta, z [B, 1, D], b, c [B, 1, N], a_log [D, N], d [D].
struct TokenScan {
  at::Tensor x, delta, a_log, b, c, d, z;
};

/// scan(x, softplus(delta), -exp(a_log), b, c, d) silu(z), from the state `h` [B, D, N], which is replaced.
at::Tensor gated_scan_step(const TokenScan& in, Discretization discretization, at::Tensor& h);

}  // namespace colonnade::mamba
