#include "token_step.h"

#include <algorithm>
#include <cstdint>
#include <new>

#include "causal_conv.h"
#include "selective_scan_kernel.h"

#define COLONNADE_SCAN_TARGET step_baseline
#define COLONNADE_SCAN_BYTES 16
#include "token_step_passes.h"
#undef COLONNADE_SCAN_TARGET
#undef COLONNADE_SCAN_BYTES

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define COLONNADE_SCAN_TARGET step_avx2
#define COLONNADE_SCAN_BYTES 32
#include "token_step_passes.h"
#undef COLONNADE_SCAN_TARGET
#undef COLONNADE_SCAN_BYTES
#pragma GCC pop_options
#else
namespace colonnade::mamba {
namespace step_avx2 = step_baseline;
}
#endif

namespace colonnade::mamba {
namespace {

/// Neighbouring blocks of a task: fewer are not worth another thread.
constexpr int64_t kConvBlocks = 256, kScanBlocks = 16;

template <typename Real, typename Step>
void for_blocks(const Step& step, int64_t blocks_per_task, const ParallelFor& parallel_for, SimdTarget target,
                void (*baseline)(const Step&, int64_t, int64_t), void (*avx2)(const Step&, int64_t, int64_t)) {
  const bool wide = target != SimdTarget::baseline;
  const int64_t lanes = wide ? step_avx2::kLanes<Real> : step_baseline::kLanes<Real>;
  const int64_t blocks = step.batch * ceil_divide(step.channels, lanes);
  parallel_for(ceil_divide(blocks, blocks_per_task), [&](int64_t begin, int64_t end) {
    (wide ? avx2 : baseline)(step, begin * blocks_per_task, std::min(end * blocks_per_task, blocks));
  });
}

}  // namespace

template <typename Real>
void conv_step(const ConvStep<Real>& step, const ParallelFor& parallel_for, SimdTarget target) {
  for_blocks<Real>(step, kConvBlocks, parallel_for, target, step_baseline::conv_step_blocks<Real>,
                   step_avx2::conv_step_blocks<Real>);
}

template <typename Real>
void scan_step(const ScanStep<Real>& step, Discretization discretization, const ParallelFor& parallel_for,
               SimdTarget target) {
  if (discretization == Discretization::zoh) {
    for_blocks<Real>(step, kScanBlocks, parallel_for, target, step_baseline::scan_step_blocks<Real, true>,
                     step_avx2::scan_step_blocks<Real, true>);
  } else {
    for_blocks<Real>(step, kScanBlocks, parallel_for, target, step_baseline::scan_step_blocks<Real, false>,
                     step_avx2::scan_step_blocks<Real, false>);
  }
}

#define COLONNADE_INSTANTIATE_STEP(Real)                                                \
  template void conv_step<Real>(const ConvStep<Real>&, const ParallelFor&, SimdTarget); \
  template void scan_step<Real>(const ScanStep<Real>&, Discretization, const ParallelFor&, SimdTarget);
COLONNADE_INSTANTIATE_STEP(float)
COLONNADE_INSTANTIATE_STEP(double)
#undef COLONNADE_INSTANTIATE_STEP

}  // namespace colonnade::mamba
