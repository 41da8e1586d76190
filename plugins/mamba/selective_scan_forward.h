// The scan forwards in time. Part of selective_scan_passes.h.

namespace colonnade::mamba::COLONNADE_SCAN_TARGET {

/// Where a task works: a group of channels of one sequence.
template <typename Real>
struct Task {
  Task(const ScanShape& shape, int64_t index)
      : states(shape.states),
        length(shape.length),
        channels(shape.channels),
        chunks(ceil_divide(shape.length, kScanChunkSteps)),
        groups(ceil_divide(shape.channels, kScanGroupChannels)),
        batch(index / groups),
        group(index % groups) {
    const int64_t first = group * kScanGroupChannels;
    const int64_t left = channels - first;
    blocks = ceil_divide(left < kScanGroupChannels ? left : kScanGroupChannels, kLanes<Real>);
  }
  Block block(int64_t index) const {
    const int64_t first = group * kScanGroupChannels + index * kLanes<Real>;
    const int64_t left = channels - first;
    return {first, left < kLanes<Real> ? left : kLanes<Real>};
  }
  int64_t steps(int64_t chunk) const {
    const int64_t left = length - chunk * kScanChunkSteps;
    return left < kScanChunkSteps ? left : kScanChunkSteps;
  }
  /// Offset of a row of [B, L, width].
  int64_t row(int64_t chunk, int64_t width) const { return (batch * length + chunk * kScanChunkSteps) * width; }
  /// Offset of a block's saved states: N registers.
  int64_t boundary(int64_t chunk, Block block) const {
    constexpr int64_t kPadding = 16;
    const int64_t padded = ceil_divide(channels, kPadding) * kPadding;
    return ((batch * chunks + chunk) * padded + block.first) * states;
  }

  int64_t states, length, channels, chunks, groups, batch, group;
  int64_t blocks = 0;
};

/// Whether |delta A| log2 e stays below kUnclamped in a whole chunk; false where there is a NaN. Clamping costs a third
/// of the scan, and steps so long are rare.
template <typename Real>
COLONNADE_INLINE bool needs_no_clamp(int64_t steps, const Vector<Real>* delta, Vector<Real> largest_a) {
  const Vector<Real> bound = broadcast<Real>(Lanes<Real>::kUnclamped);
  Integer<Real> within = bound == bound;
  for (int64_t t = 0; t < steps; ++t) {
    const Vector<Real> z = delta[t] * largest_a;
    within &= (z < bound) & (z > -bound);
  }
  bool all = true;
  for (int64_t lane = 0; lane < kLanes<Real>; ++lane) all = all && within[lane] != 0;
  return all;
}

template <typename Real, bool kHeld, bool kClamp>
void advance_chunk(int64_t steps, int64_t states, const Vector<Real>* a, const Vector<Real>* inverse_a, const Real* b,
                   const Real* c, Vector<Real> skip, const Vector<Real>* x, const Vector<Real>* delta, Vector<Real>* h,
                   Vector<Real>* y) {
  for (int64_t t = 0; t < steps; ++t) {
    const Vector<Real> d = delta[t];
    const Vector<Real> input = kHeld ? x[t] : d * x[t];
    const Real* bt = b + t * states;
    const Real* ct = c + t * states;
    Vector<Real> sum = skip * x[t];
#pragma GCC unroll 2
    for (int64_t n = 0; n < states; ++n) {
      const Power<Real> decay = power_of_two<Real, kClamp>(d, a[n]);
      Vector<Real> entering = input * bt[n];
      if constexpr (kHeld) entering *= held_input<Real>(decay, d, inverse_a[n]);
      h[n] = decay.value * h[n] + entering;
      sum += h[n] * ct[n];
    }
    y[t] = sum;
  }
}

/// A log2 e and 1/A by state; returns the largest |A log2 e| of each channel.
template <typename Real>
COLONNADE_INLINE Vector<Real> prepare_decay(const ScanInputs<Real>& in, int64_t states, Block block, Vector<Real>* a,
                                            Vector<Real>* inverse_a) {
  read_states<Real>(in.a, states, block, a);
  Vector<Real> largest = {};
  for (int64_t n = 0; n < states; ++n) {
    inverse_a[n] = Real(1) / a[n];
    a[n] *= Real(kLog2E);
    const Vector<Real> size = a[n] < Real(0) ? -a[n] : a[n];
    largest = size < largest ? largest : size;
  }
  return largest;
}

template <typename Real, bool kHeld>
void forward_task(const ScanShape& shape, const ScanInputs<Real>& in, const ScanOutputs<Real>& out, int64_t index) {
  const Task<Real> task(shape, index);
  const int64_t states = task.states;
  Scratch<Real> scratch(task.blocks * (states * 3 + 1) + kScanChunkSteps * 3);
  Vector<Real>* a = scratch.take(task.blocks * states);
  Vector<Real>* inverse_a = scratch.take(task.blocks * states);
  Vector<Real>* h = scratch.take(task.blocks * states);
  Vector<Real>* largest_a = scratch.take(task.blocks);
  Vector<Real>* x = scratch.take(kScanChunkSteps);
  Vector<Real>* delta = scratch.take(kScanChunkSteps);
  Vector<Real>* y = scratch.take(kScanChunkSteps);
  const int64_t state_row = task.batch * task.channels * states;
  for (int64_t i = 0; i < task.blocks; ++i) {
    largest_a[i] = prepare_decay<Real>(in, states, task.block(i), a + i * states, inverse_a + i * states);
    read_states<Real>(in.h0 == nullptr ? nullptr : in.h0 + state_row, states, task.block(i), h + i * states);
  }
  for (int64_t chunk = 0; chunk < task.chunks; ++chunk) {
    const int64_t steps = task.steps(chunk);
    const int64_t wide = task.row(chunk, task.channels);
    const int64_t narrow = task.row(chunk, states);
    for (int64_t i = 0; i < task.blocks; ++i) {
      const Block block = task.block(i);
      if (out.boundaries != nullptr) {
        __builtin_memcpy(out.boundaries + task.boundary(chunk, block), h + i * states, states * sizeof(Vector<Real>));
      }
      read_rows<Real>(in.x + wide, task.channels, steps, block, x);
      read_rows<Real>(in.delta + wide, task.channels, steps, block, delta);
      const auto advance = needs_no_clamp<Real>(steps, delta, largest_a[i]) ? advance_chunk<Real, kHeld, false>
                                                                            : advance_chunk<Real, kHeld, true>;
      advance(steps, states, a + i * states, inverse_a + i * states, in.b + narrow, in.c + narrow,
              read_channel<Real>(in.d, block), x, delta, h + i * states, y);
      write_rows<Real>(out.y + wide, task.channels, steps, block, y);
    }
  }
  for (int64_t i = 0; i < task.blocks; ++i) {
    write_states<Real>(out.h_last + state_row, states, task.block(i), h + i * states);
  }
}

}  // namespace colonnade::mamba::COLONNADE_SCAN_TARGET
