#include "selective_scan.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "selective_scan_kernel.h"

namespace colonnade::mamba {
namespace {

constexpr const char* kSimdVariable = "COLONNADE_SIMD";
/// Boundaries are laid out in whole blocks of lanes; this is a multiple of every target's lane count.
constexpr int64_t kMaxLanes = 16;

SimdTarget widest_target() {
  if (simd_target_available(SimdTarget::avx512)) return SimdTarget::avx512;
  if (simd_target_available(SimdTarget::avx2)) return SimdTarget::avx2;
  return SimdTarget::baseline;
}

const ScanKernelSet& kernel_set(SimdTarget target) {
#if defined(__x86_64__)
  if (target == SimdTarget::avx512) return avx512_scan_kernels();
  if (target == SimdTarget::avx2) return avx2_scan_kernels();
#endif
  if (target != SimdTarget::baseline) {
    throw std::invalid_argument("selective scan: this build has no " + simd_target_name(target) + " kernels");
  }
  return baseline_scan_kernels();
}

void check_shape(const ScanShape& shape) {
  if (shape.states < 1 || shape.states > kMaxScanStates) {
    throw std::invalid_argument("selective scan: " + std::to_string(shape.states) + " states, allowed are 1 to " +
                                std::to_string(kMaxScanStates));
  }
  if (shape.batch < 0 || shape.length < 0 || shape.channels < 0) {
    throw std::invalid_argument("selective scan: negative size");
  }
}

int64_t task_count(const ScanShape& shape) {
  return shape.batch * ceil_divide(shape.channels, kScanGroupChannels);
}

}  // namespace

template <typename Real>
const ScanKernels<Real>& scan_kernels(SimdTarget target) {
  if constexpr (sizeof(Real) == sizeof(float)) {
    return kernel_set(target).single;
  } else {
    return kernel_set(target).real_double;
  }
}

template <typename Real>
void sum_parts(const Real* in, int64_t parts, int64_t count, Real* out, const ParallelFor& parallel_for) {
  constexpr int64_t kSlice = 4096;
  parallel_for(ceil_divide(count, kSlice), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kSlice;
    const int64_t last = std::min(end * kSlice, count);
    std::fill(out + first, out + last, Real(0));
    for (int64_t part = 0; part < parts; ++part) {
      const Real* row = in + part * count;
      for (int64_t i = first; i < last; ++i) out[i] += row[i];
    }
  });
}

bool simd_target_available(SimdTarget target) {
  if (target == SimdTarget::baseline) return true;
#if defined(__x86_64__)
  if (target == SimdTarget::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

std::string simd_target_name(SimdTarget target) {
  switch (target) {
    case SimdTarget::baseline:
      return "baseline";
    case SimdTarget::avx2:
      return "avx2";
    case SimdTarget::avx512:
      return "avx512";
  }
  return "unknown";
}

SimdTarget simd_target_named(const std::string& word) {
  if (word == "baseline") return SimdTarget::baseline;
  if (word.empty() || word == "native") return widest_target();
  const std::string given = std::string(kSimdVariable) + "=" + word;
  SimdTarget target = SimdTarget::avx2;
  if (word == "portable") {
    target = std::max(SimdTarget::avx2, widest_target());
  } else if (word == "avx512") {
    target = SimdTarget::avx512;
  } else if (word != "avx2") {
    throw std::invalid_argument(given + ": allowed are avx2, avx512, baseline, native, portable");
  }
  if (simd_target_available(target)) return target;
  throw std::invalid_argument(given + ", but this processor has no " +
                              (target == SimdTarget::avx2 ? "AVX2 with FMA: use baseline or native"
                                                          : "AVX-512 F and DQ: use portable or native"));
}

SimdTarget simd_target() {
  static const SimdTarget target = [] {
    const char* text = std::getenv(kSimdVariable);
    return simd_target_named(text == nullptr ? "" : text);
  }();
  return target;
}

int64_t boundary_elements(const ScanShape& shape) {
  const int64_t padded_channels = ceil_divide(shape.channels, kMaxLanes) * kMaxLanes;
  return shape.batch * ceil_divide(shape.length, kScanChunkSteps) * padded_channels * shape.states;
}

template <typename Real>
void selective_scan_forward(const ScanShape& shape, Discretization discretization, const ScanInputs<Real>& inputs,
                            const ScanOutputs<Real>& outputs, const ParallelFor& parallel_for, SimdTarget target) {
  check_shape(shape);
  const auto forward = scan_kernels<Real>(target).forward;
  parallel_for(task_count(shape),
               [&](int64_t begin, int64_t end) { forward(shape, discretization, inputs, outputs, begin, end); });
}

template <typename Real>
void selective_scan_backward(const ScanShape& shape, Discretization discretization, const ScanInputs<Real>& inputs,
                             const ScanUpstream<Real>& upstream, const ScanGradients<Real>& gradients,
                             const ParallelFor& parallel_for, SimdTarget target) {
  check_shape(shape);
  const int64_t groups = ceil_divide(shape.channels, kScanGroupChannels);
  const int64_t row_count = shape.batch * shape.length * shape.states;
  const int64_t a_count = shape.channels * shape.states;
  // Every number of these is written by some task, so they need no zeros.
  const auto db = std::make_unique_for_overwrite<Real[]>(groups * row_count);
  const auto dc = std::make_unique_for_overwrite<Real[]>(groups * row_count);
  const auto da = std::make_unique_for_overwrite<Real[]>(shape.batch * a_count);
  const auto dd = std::make_unique_for_overwrite<Real[]>(shape.batch * shape.channels);
  const ScanPartials<Real> partials{db.get(), dc.get(), da.get(), dd.get()};
  const auto backward = scan_kernels<Real>(target).backward;
  parallel_for(task_count(shape), [&](int64_t begin, int64_t end) {
    backward(shape, discretization, inputs, upstream, gradients, partials, begin, end);
  });
  sum_parts(db.get(), groups, row_count, gradients.db, parallel_for);
  sum_parts(dc.get(), groups, row_count, gradients.dc, parallel_for);
  sum_parts(da.get(), shape.batch, a_count, gradients.da, parallel_for);
  if (gradients.dd != nullptr) sum_parts(dd.get(), shape.batch, shape.channels, gradients.dd, parallel_for);
}

template <typename Real>
void scan_exponential(const Real* z, Real* out, int64_t count, SimdTarget target) {
  scan_kernels<Real>(target).exponential(z, out, count);
}

#define COLONNADE_INSTANTIATE_SCAN(Real)                                                                 \
  template void selective_scan_forward<Real>(const ScanShape&, Discretization, const ScanInputs<Real>&,  \
                                             const ScanOutputs<Real>&, const ParallelFor&, SimdTarget);  \
  template void selective_scan_backward<Real>(const ScanShape&, Discretization, const ScanInputs<Real>&, \
                                              const ScanUpstream<Real>&, const ScanGradients<Real>&,     \
                                              const ParallelFor&, SimdTarget);                           \
  template void scan_exponential<Real>(const Real*, Real*, int64_t, SimdTarget);                         \
  template const ScanKernels<Real>& scan_kernels<Real>(SimdTarget);                                      \
  template void sum_parts<Real>(const Real*, int64_t, int64_t, Real*, const ParallelFor&);
COLONNADE_INSTANTIATE_SCAN(float)
COLONNADE_INSTANTIATE_SCAN(double)
#undef COLONNADE_INSTANTIATE_SCAN

}  // namespace colonnade::mamba
