// What a Mamba block computes of one new token between its projections, as plain C++ without LibTorch:
//
//   x = silu(bias + sum_k taps_k x_{t - width + 1 + k})
//   h = exp(delta A) h + Bbar x,  y = (C h + D x) silu(z),  delta = softplus(delta's projection), A = -exp(A_log)
//
// with Bbar as in selective_scan.h, and softplus linear above 20. Channels are shared among the threads; no result
// depends on their number. Subnormal numbers are flushed to zero in the scan on x86.
#pragma once

#include "selective_scan.h"

namespace colonnade::mamba {

/// x and y [B, D]; rows of x may lie apart. `past` [B, width - 1, D], the inputs before x, moves on by one.
template <typename Real>
struct ConvStep {
  int64_t batch = 0, channels = 0, width = 0;
  const Real* x = nullptr;
  int64_t x_row = 0;
  Real* past = nullptr;
  const Real* taps = nullptr;  // [D, width]
  const Real* bias = nullptr;  // [D]; null: none
  Real* y = nullptr;
};

/// x, delta, z, y [B, D]; b, c [B, N]; rows of z may lie apart. `h` [B, D, N] is replaced.
template <typename Real>
struct ScanStep {
  int64_t batch = 0, channels = 0, states = 0;
  const Real* x = nullptr;
  const Real* delta = nullptr;  // before softplus
  const Real* a_log = nullptr;  // [D, N]
  const Real* b = nullptr;
  const Real* c = nullptr;
  const Real* d = nullptr;  // [D]
  const Real* z = nullptr;
  int64_t z_row = 0;
  Real* h = nullptr;
  Real* y = nullptr;
};

/// `width` is at most kMaxConvWidth.
template <typename Real>
void conv_step(const ConvStep<Real>& step, const ParallelFor& parallel_for, SimdTarget target);
template <typename Real>
void scan_step(const ScanStep<Real>& step, Discretization discretization, const ParallelFor& parallel_for,
               SimdTarget target);

}  // namespace colonnade::mamba
