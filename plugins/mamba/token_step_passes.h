// One token's convolution and scan. Compiled once per SIMD target by token_step.cpp, as selective_scan_passes.h says.

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"

#include "selective_scan_lanes.h"
// Which builds on the lanes.
#include "causal_conv_passes.h"

namespace colonnade::mamba::COLONNADE_SCAN_TARGET {

/// Numbers that are asked of memory beforehand: a layer's state and its small weights are in no near cache.
constexpr int64_t kAhead = 512;

/// Tasks are blocks of lanes, counted through all sequences.
struct StepBlock {
  int64_t batch;
  Block block;
};

template <typename Real>
COLONNADE_INLINE StepBlock step_block(int64_t channels, int64_t task) {
  const int64_t blocks = ceil_divide(channels, kLanes<Real>), first = task % blocks * kLanes<Real>;
  const int64_t left = channels - first;
  return {task / blocks, {first, left < kLanes<Real> ? left : kLanes<Real>}};
}

/// One tap of each channel of a block, taps [D, width].
template <typename Real>
COLONNADE_INLINE Vector<Real> read_taps(const Real* taps, int64_t width, Block block) {
  Vector<Real> tap = {};
  if (block.count == kLanes<Real>) {
#pragma GCC unroll 8
    for (int64_t lane = 0; lane < kLanes<Real>; ++lane) tap[lane] = taps[lane * width];
  } else {
    for (int64_t lane = 0; lane < block.count; ++lane) tap[lane] = taps[lane * width];
  }
  return tap;
}

template <typename Real>
void conv_step_blocks(const ConvStep<Real>& step, int64_t begin, int64_t end) {
  const PowerConstants<Real> constants;
  const int64_t past_rows = step.width - 1;
  for (int64_t task = begin; task < end; ++task) {
    const auto [batch, block] = step_block<Real>(step.channels, task);
    Vector<Real> sum = step.bias == nullptr ? Vector<Real>{} : read_block<Real>(step.bias, block);
    Real* past = step.past + batch * past_rows * step.channels;
    const Real* taps = step.taps + block.first * step.width;
    for (int64_t k = 0; k < step.width; ++k) {
      const Real* row = k < past_rows ? past + k * step.channels : step.x + batch * step.x_row;
      __builtin_prefetch(row + block.first + kAhead);
      __builtin_prefetch(taps + k * kLanes<Real> + kAhead);
      const Vector<Real> x = read_block<Real>(row, block);
      if (k > 0) write_block<Real>(past + (k - 1) * step.channels, block, x);
      sum = multiply_add(read_taps<Real>(taps + k, step.width, block), x, sum);
    }
    write_block<Real>(step.y + batch * step.channels, block, sum * sigmoid<Real>(sum, constants));
  }
}

/// 2^z, z held where that is a normal number.
template <typename Real>
COLONNADE_INLINE Power<Real> power_within_range(Vector<Real> z, const PowerConstants<Real>& k) {
  using L = Lanes<Real>;
  z = z < L::kLowest ? broadcast<Real>(L::kLowest) : z;
  z = z > L::kHighest ? broadcast<Real>(L::kHighest) : z;
  Power<Real> power = power_of_two<Real, false>(z, k.one, k);
  power.value = z == z ? power.value : z;  // adding to the exponent of a NaN would make a number of it
  return power;
}

template <typename Real>
COLONNADE_INLINE Real sum_of_lanes(Vector<Real> v) {
#pragma GCC unroll 4
  for (int64_t half = kLanes<Real> / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int64_t lane = 0; lane < half; ++lane) v[lane] += v[lane + half];
  }
  return v[0];
}

/// log(1 + exp(v)), v itself above 20: max(v, 0) + log(1 + t) with t = exp(-|v|), and log(1 + t) = 2 artanh(t/(2 + t)),
/// whose series in the square of that, at most 1/9, ends below the last place of 1.
template <typename Real>
COLONNADE_INLINE Vector<Real> softplus(Vector<Real> v, const PowerConstants<Real>& constants) {
  constexpr int kTerms = sizeof(Real) == sizeof(float) ? 8 : 18;
  constexpr Real kLinearAbove = 20;
  const Vector<Real> t = power_within_range<Real>((v < 0 ? v : -v) * Real(kLog2E), constants).value;
  const Vector<Real> s = t / (t + Real(2)), square = s * s;
  Vector<Real> series = {};
#pragma GCC unroll 18
  for (int k = kTerms - 1; k >= 0; --k) {
    series = multiply_add(series, square, broadcast<Real>(Real(1) / Real(2 * k + 1)));
  }
  const Vector<Real> positive = v > 0 ? v : Vector<Real>{};
  return v > kLinearAbove ? v : multiply_add(Real(2) * s, series, positive);
}

/// Advances one channel's states; returns C h.
template <typename Real, bool kHeld>
COLONNADE_INLINE Real advance_channel(int64_t states, const Real* a_log, const Real* b, const Real* c, Real delta,
                                      Real x, Real* h, const PowerConstants<Real>& constants) {
  const Vector<Real> d = broadcast<Real>(delta);
  Vector<Real> sum = {};
  for (int64_t n = 0; n < states; n += kLanes<Real>) {
    const int64_t left = states - n;
    const Block block{n, left < kLanes<Real> ? left : kLanes<Real>};
    __builtin_prefetch(a_log + n + kAhead);
    __builtin_prefetch(h + n + kAhead);
    const Vector<Real> a = -power_within_range<Real>(read_block<Real>(a_log, block) * Real(kLog2E), constants).value;
    const Power<Real> decay = power_within_range<Real>(d * (a * Real(kLog2E)), constants);
    Vector<Real> entering = read_block<Real>(b, block) * x;
    entering *= kHeld ? held_input<Real>(decay, d, Real(1) / a) : d;
    const Vector<Real> state = multiply_add(decay.value, read_block<Real>(h, block), entering);
    write_block<Real>(h, block, state);
    sum = multiply_add(state, read_block<Real>(c, block), sum);
  }
  return sum_of_lanes<Real>(sum);
}

template <typename Real, bool kHeld>
void scan_step_blocks(const ScanStep<Real>& step, int64_t begin, int64_t end) {
  const FlushSubnormals flush;
  const PowerConstants<Real> constants;
  for (int64_t task = begin; task < end; ++task) {
    const auto [batch, block] = step_block<Real>(step.channels, task);
    const int64_t row = batch * step.channels;
    const Vector<Real> x = read_block<Real>(step.x + row, block),
                       z = read_block<Real>(step.z + batch * step.z_row, block);
    const Vector<Real> delta = softplus<Real>(read_block<Real>(step.delta + row, block), constants);
    Vector<Real> sum = {};
    for (int64_t lane = 0; lane < block.count; ++lane) {
      const int64_t channel = block.first + lane;
      sum[lane] = advance_channel<Real, kHeld>(step.states, step.a_log + channel * step.states,
                                               step.b + batch * step.states, step.c + batch * step.states, delta[lane],
                                               x[lane], step.h + (row + channel) * step.states, constants);
    }
    const Vector<Real> y = multiply_add(read_block<Real>(step.d, block), x, sum);
    write_block<Real>(step.y + row, block, y * (z * sigmoid<Real>(z, constants)));
  }
}

}  // namespace colonnade::mamba::COLONNADE_SCAN_TARGET

#undef COLONNADE_INLINE

#pragma GCC diagnostic pop
