// The scan with what stands around it in a Mamba block taken along: step sizes from what the projection gives, and the
// gate: on the CPU, and on devices whose plugin implements `mamba::gated_scan_forward` and `_backward`.
#pragma once

#include <ATen/core/Tensor.h>

#include "selective_scan.h"

namespace colonnade::mamba {

/// What goes into it. x, delta, z [B, L, D], b, c [B, L, N] of one floating type; bias [D] (or undefined), a [D, N], d
/// [D] in float, or all in double on the CPU.
struct GatedScan {
  at::Tensor x, delta, bias, a, b, c, d, z;
};

bool has_gated_scan(const at::Tensor& x);

/// scan(x, softplus(delta + bias), a, b, c, d) silu(z), with gradients for every input.
at::Tensor gated_scan(const GatedScan& in, Discretization discretization);

}  // namespace colonnade::mamba
