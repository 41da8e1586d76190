// The depthwise causal convolution of Mamba with the SiLU behind it, as plain C++ without LibTorch:
//
//   s_t = bias + sum_k taps_k x_{t - width + 1 + k},    y_t = s_t sigmoid(s_t)
//
// Arrays are channel-last: x, y [B, L, D]; taps [width, D]; bias [D]. What stands before x is zero, or given. The
// backward pass computes s again. Determinism as in selective_scan.h.
#pragma once

#include "selective_scan.h"

namespace colonnade::mamba {

/// The widest convolution that has kernels.
inline constexpr int64_t kMaxConvWidth = 8;

struct ConvShape {
  int64_t batch = 0;
  int64_t length = 0;
  int64_t channels = 0;
  int64_t width = 0;
};

template <typename Real>
struct ConvInputs {
  const Real* x = nullptr;
  int64_t x_row = 0;             // from one step to the next, in elements
  int64_t x_batch = 0;           // from one sequence to the next
  const Real* before = nullptr;  // [B, width - 1, D], the steps before x, dense; null: zero
  const Real* taps = nullptr;
  const Real* bias = nullptr;  // null: none
};

/// Of the loss, by x [B, L, D], taps and bias; dbias may be null.
template <typename Real>
struct ConvGradients {
  Real* dx = nullptr;
  Real* dtaps = nullptr;
  Real* dbias = nullptr;
};

/// Throws std::invalid_argument for a width that has no kernels.
template <typename Real>
void conv_silu_forward(const ConvShape& shape, const ConvInputs<Real>& inputs, Real* y, const ParallelFor& parallel_for,
                       SimdTarget target);

/// Without `before`.
template <typename Real>
void conv_silu_backward(const ConvShape& shape, const ConvInputs<Real>& inputs, const Real* dy,
                        const ConvGradients<Real>& gradients, const ParallelFor& parallel_for, SimdTarget target);

}  // namespace colonnade::mamba
