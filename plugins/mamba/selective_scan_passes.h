// The scan on lanes of neighbouring channels. Compiled once per SIMD target: the including file first includes
// selective_scan_kernel.h, selects the target by pragma, and defines COLONNADE_SCAN_TARGET (a namespace of its own, so
// that no two targets share a symbol) and COLONNADE_SCAN_BYTES (the width of a register). For the same reason nothing
// from the standard library's templates is used here: a shared instantiation might be the one built for a wider
// machine.
//
// A task is one group of channels of one sequence. It runs chunk by chunk, and in a chunk block by block (a block is
// one register of channels), so that the rows of x are read a cache line at a time and B and C stay in the first-level
// cache.

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"

#include "selective_scan_lanes.h"
// The passes build on the lanes, so the order matters.
#include "selective_scan_forward.h"
// And the backward pass on the forward one.
#include "selective_scan_backward.h"
// Which has nothing of either.
#include "causal_conv_passes.h"

namespace colonnade::mamba::COLONNADE_SCAN_TARGET {

template <typename Real>
void forward(const ScanShape& shape, Discretization discretization, const ScanInputs<Real>& in,
             const ScanOutputs<Real>& out, int64_t begin, int64_t end) {
  const FlushSubnormals flush;
  for (int64_t i = begin; i < end; ++i) {
    if (discretization == Discretization::zoh) {
      forward_task<Real, true>(shape, in, out, i);
    } else {
      forward_task<Real, false>(shape, in, out, i);
    }
  }
}

template <typename Real>
void backward(const ScanShape& shape, Discretization discretization, const ScanInputs<Real>& in,
              const ScanUpstream<Real>& up, const ScanGradients<Real>& out, const ScanPartials<Real>& partials,
              int64_t begin, int64_t end) {
  const FlushSubnormals flush;
  for (int64_t i = begin; i < end; ++i) {
    if (discretization == Discretization::zoh) {
      backward_task<Real, true>(shape, in, up, out, partials, i);
    } else {
      backward_task<Real, false>(shape, in, up, out, partials, i);
    }
  }
}

template <typename Real>
void exponential(const Real* z, Real* out, int64_t count) {
  const PowerConstants<Real> constants;
  for (int64_t i = 0; i < count; i += kLanes<Real>) {
    const int64_t left = count - i;
    const Block block{i, left < kLanes<Real> ? left : kLanes<Real>};
    Vector<Real> row;
    read_rows<Real>(z, 0, 1, block, &row);
    row = power_of_two<Real, true>(row, broadcast<Real>(Real(kLog2E)), constants).value;
    write_rows<Real>(out, 0, 1, block, &row);
  }
}

inline const ScanKernelSet& kernel_set() {
  static constexpr ScanKernelSet set{
      {forward<float>, backward<float>, exponential<float>, conv_forward<float>, conv_backward<float>},
      {forward<double>, backward<double>, exponential<double>, conv_forward<double>, conv_backward<double>}};
  return set;
}

}  // namespace colonnade::mamba::COLONNADE_SCAN_TARGET

#undef COLONNADE_INLINE

#pragma GCC diagnostic pop
