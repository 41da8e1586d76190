// What the per-target translation units provide to selective_scan.cpp and causal_conv.cpp; no other file includes this.
#pragma once

#include <cstdint>

#include "causal_conv.h"
#include "selective_scan.h"

namespace colonnade::mamba {

/// Channels that one task works on, one block of lanes after the other. Fixed, since partial sums are per group.
inline constexpr int64_t kScanGroupChannels = 64;
/// Time steps between two saved states: a chunk's states and decays for 16 states stay in the first-level cache.
inline constexpr int64_t kScanChunkSteps = 32;

/// Sums over the channels of one group, or over one batch, that are added up afterwards in a fixed order.
template <typename Real>
struct ScanPartials {
  Real* db = nullptr;  // [groups, B, L, N]
  Real* dc = nullptr;  // [groups, B, L, N]
  Real* da = nullptr;  // [B, D, N]
  Real* dd = nullptr;  // [B, D]
};

template <typename Real>
struct ScanKernels {
  void (*forward)(const ScanShape&, Discretization, const ScanInputs<Real>&, const ScanOutputs<Real>&, int64_t begin,
                  int64_t end);
  void (*backward)(const ScanShape&, Discretization, const ScanInputs<Real>&, const ScanUpstream<Real>&,
                   const ScanGradients<Real>&, const ScanPartials<Real>&, int64_t begin, int64_t end);
  void (*exponential)(const Real* z, Real* out, int64_t count);
  void (*conv_forward)(const ConvShape&, const ConvInputs<Real>&, Real* y, int64_t begin, int64_t end);
  void (*conv_backward)(const ConvShape&, const ConvInputs<Real>&, const Real* dy, const ConvGradients<Real>& partial,
                        int64_t begin, int64_t end);
};

inline int64_t ceil_divide(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

struct ScanKernelSet {
  ScanKernels<float> single;
  ScanKernels<double> real_double;
};

/// Throws std::invalid_argument where the build has none for the target.
template <typename Real>
const ScanKernels<Real>& scan_kernels(SimdTarget target);

/// out[i] = sum over parts of in[part, i], parts in ascending order.
template <typename Real>
void sum_parts(const Real* in, int64_t parts, int64_t count, Real* out, const ParallelFor& parallel_for);

const ScanKernelSet& baseline_scan_kernels();
#if defined(__x86_64__)
const ScanKernelSet& avx2_scan_kernels();
const ScanKernelSet& avx512_scan_kernels();
#endif

}  // namespace colonnade::mamba
