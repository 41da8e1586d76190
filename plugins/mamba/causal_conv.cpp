#include "causal_conv.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>

#include "selective_scan_kernel.h"

namespace colonnade::mamba {
namespace {

void check_shape(const ConvShape& shape) {
  if (shape.width >= 1 && shape.width <= kMaxConvWidth) return;
  throw std::invalid_argument("causal convolution: " + std::to_string(shape.width) + " taps, allowed are 1 to " +
                              std::to_string(kMaxConvWidth));
}

/// Steps that a thread takes at least: some microseconds of work.
constexpr int64_t kStepsPerTask = 16;

}  // namespace

template <typename Real>
void conv_silu_forward(const ConvShape& shape, const ConvInputs<Real>& inputs, Real* y, const ParallelFor& parallel_for,
                       SimdTarget target) {
  check_shape(shape);
  const auto forward = scan_kernels<Real>(target).conv_forward;
  const int64_t steps = shape.batch * shape.length;
  parallel_for(ceil_divide(steps, kStepsPerTask), [&](int64_t begin, int64_t end) {
    forward(shape, inputs, y, begin * kStepsPerTask, std::min(end * kStepsPerTask, steps));
  });
}

template <typename Real>
void conv_silu_backward(const ConvShape& shape, const ConvInputs<Real>& inputs, const Real* dy,
                        const ConvGradients<Real>& gradients, const ParallelFor& parallel_for, SimdTarget target) {
  check_shape(shape);
  const int64_t taps = shape.width * shape.channels;
  const auto dtaps = std::make_unique_for_overwrite<Real[]>(shape.batch * taps);
  const auto dbias = std::make_unique_for_overwrite<Real[]>(shape.batch * shape.channels);
  const ConvGradients<Real> partial{gradients.dx, dtaps.get(), dbias.get()};
  const auto backward = scan_kernels<Real>(target).conv_backward;
  parallel_for(shape.batch * ceil_divide(shape.channels, kScanGroupChannels),
               [&](int64_t begin, int64_t end) { backward(shape, inputs, dy, partial, begin, end); });
  sum_parts(dtaps.get(), shape.batch, taps, gradients.dtaps, parallel_for);
  if (gradients.dbias != nullptr) {
    sum_parts(dbias.get(), shape.batch, shape.channels, gradients.dbias, parallel_for);
  }
}

#define COLONNADE_INSTANTIATE_CONV(Real)                                                                      \
  template void conv_silu_forward<Real>(const ConvShape&, const ConvInputs<Real>&, Real*, const ParallelFor&, \
                                        SimdTarget);                                                          \
  template void conv_silu_backward<Real>(const ConvShape&, const ConvInputs<Real>&, const Real*,              \
                                         const ConvGradients<Real>&, const ParallelFor&, SimdTarget);
COLONNADE_INSTANTIATE_CONV(float)
COLONNADE_INSTANTIATE_CONV(double)
#undef COLONNADE_INSTANTIATE_CONV

}  // namespace colonnade::mamba
