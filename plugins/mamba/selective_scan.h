// The selective scan of Mamba (Gu and Dao 2023, section 3.2) as plain C++: no LibTorch, no allocation that grows with
// the sequence but the states at chunk boundaries, which the backward pass starts from.
//
//   h_t = exp(delta_t A) h_{t-1} + Bbar_t x_t,    y_t = sum_n C_t h_t + D x_t
//
// with Bbar_t = delta_t B_t (Mamba's simplification) or the zero-order hold's Bbar_t = (exp(delta_t A) - 1)/A B_t.
//
// All arrays are dense and channel-last: x, delta, y [B, L, D]; A [D, N]; B, C [B, L, N]; D [D]; h0, h_last [B, D, N].
// `delta` is positive (softplus is the caller's), A is negative; other signs are computed as they stand.
//
// Determinism: channels are cut into fixed groups, and every sum over channels or batches is taken in a fixed order,
// whatever the number of threads and the width of a register. So avx2 and avx512 give the same bits (of a NaN, its
// place); baseline, which lacks fused multiply-add, gives others. Subnormal numbers are flushed to zero on x86.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace colonnade::mamba {

enum class Discretization { mamba, zoh };

/// Instruction sets that the scan is compiled for, from the narrowest.
enum class SimdTarget { baseline, avx2, avx512 };

/// The target of a word: "baseline", "avx2", "avx512", "native" (the widest this processor has, as does ""), or
/// "portable" (the widest of those that give the bits of avx2). Throws std::invalid_argument for another word, and
/// where the processor lacks what it asks for.
SimdTarget simd_target_named(const std::string& word);
/// The target that the environment's COLONNADE_SIMD names, read once.
SimdTarget simd_target();
bool simd_target_available(SimdTarget target);
std::string simd_target_name(SimdTarget target);

struct ScanShape {
  int64_t batch = 0;
  int64_t length = 0;
  int64_t channels = 0;
  int64_t states = 0;
};

/// The most states a channel may have.
inline constexpr int64_t kMaxScanStates = 256;

template <typename Real>
struct ScanInputs {
  const Real* x = nullptr;
  const Real* delta = nullptr;
  const Real* a = nullptr;
  const Real* b = nullptr;
  const Real* c = nullptr;
  const Real* d = nullptr;   // null: no skip
  const Real* h0 = nullptr;  // null: zero
};

template <typename Real>
struct ScanOutputs {
  Real* y = nullptr;
  Real* h_last = nullptr;
  /// boundary_elements(shape) numbers for the backward pass; null where none follows.
  Real* boundaries = nullptr;
};

/// What the backward pass is given besides the inputs.
template <typename Real>
struct ScanUpstream {
  const Real* dy = nullptr;
  const Real* dh_last = nullptr;  // null: zero
  const Real* boundaries = nullptr;
};

/// Gradients, each shaped like its input; dd and dh0 may be null where there is no D or h0.
template <typename Real>
struct ScanGradients {
  Real* dx = nullptr;
  Real* ddelta = nullptr;
  Real* da = nullptr;
  Real* db = nullptr;
  Real* dc = nullptr;
  Real* dd = nullptr;
  Real* dh0 = nullptr;
};

/// Runs body(begin, end) over a partition of [0, count), in any order and on any threads, and returns when all are
/// done.
using ScanBody = std::function<void(int64_t begin, int64_t end)>;
using ParallelFor = std::function<void(int64_t count, const ScanBody& body)>;

/// Numbers to reserve for ScanOutputs::boundaries; the same for every target.
int64_t boundary_elements(const ScanShape& shape);

/// Real is float or double. Throws std::invalid_argument for more than kMaxScanStates states.
template <typename Real>
void selective_scan_forward(const ScanShape& shape, Discretization discretization, const ScanInputs<Real>& inputs,
                            const ScanOutputs<Real>& outputs, const ParallelFor& parallel_for, SimdTarget target);

/// `upstream.boundaries` comes from a forward pass with the same shape, inputs and target.
template <typename Real>
void selective_scan_backward(const ScanShape& shape, Discretization discretization, const ScanInputs<Real>& inputs,
                             const ScanUpstream<Real>& upstream, const ScanGradients<Real>& gradients,
                             const ParallelFor& parallel_for, SimdTarget target);

/// out[i] = exp(z[i]) as the scan computes it: within 2 units in the last place of exp for |z| below 1, and within 2
/// |z| of them beyond (the rounding of z log2 e); below exp(-86) (exp(-707) in double) it stays at that tiny value.
template <typename Real>
void scan_exponential(const Real* z, Real* out, int64_t count, SimdTarget target);

}  // namespace colonnade::mamba
