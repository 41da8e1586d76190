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
  Integer<Real> largest = {};
  for (int64_t t = 0; t < steps; ++t) largest = larger_magnitude<Real>(largest, delta[t]);
  const Integer<Real> within = (Vector<Real>)largest * largest_a < Lanes<Real>::kUnclamped;
  bool all = true;
  for (int64_t lane = 0; lane < kLanes<Real>; ++lane) all = all && within[lane] != 0;
  return all;
}

/// States that stay in registers from step to step, where there are so many, and those whose decays are computed
/// together.
constexpr int64_t kSliceStates = 16;
constexpr int kTogether = 2;

/// One block in one chunk, as the loop over time reads and writes it.
template <typename Real>
struct Stretch {
  int64_t steps, states;
  const Vector<Real>*a, *inverse_a;  // by state
  const Real *b, *c;                 // [steps, states]
  const Vector<Real>*x, *delta;      // by step
  Vector<Real>* h;                   // by state
  Vector<Real>* y;                   // by step
};

/// Rows of channels in memory, [L, stride], that the next chunk will read and write: they are asked for one step at a
/// time, since rows lie too far apart for the processor to foresee them.
template <typename Real>
struct Ahead {
  const Real *x, *delta;
  Real* y;
  int64_t stride;
};

/// A slice of a step's states: h by state in the slice; returns sum + C h.
template <typename Real, bool kHeld, bool kClamp>
COLONNADE_INLINE Vector<Real> advance_step(const Stretch<Real>& s, int64_t t, int64_t first, int64_t count,
                                           Vector<Real>* h, Vector<Real> sum, const PowerConstants<Real>& k) {
  const Vector<Real> d = s.delta[t];
  const Vector<Real> input = kHeld ? s.x[t] : d * s.x[t];
  const Vector<Real>* a = s.a + first;
  const Real* b = s.b + t * s.states + first;
  const Real* c = s.c + t * s.states + first;
  int64_t n = 0;
#pragma GCC unroll 16
  for (; n + kTogether <= count; n += kTogether) {
    Power<Real> decay[kTogether];
    powers_of_two<Real, kClamp, kTogether>(d, a + n, k, decay);
#pragma GCC unroll 16
    for (int i = 0; i < kTogether; ++i) {
      Vector<Real> entering = input * b[n + i];
      if constexpr (kHeld) entering *= held_input<Real>(decay[i], d, s.inverse_a[first + n + i]);
      h[n + i] = multiply_add(decay[i].value, h[n + i], entering);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kTogether; ++i) sum = multiply_add(h[n + i], broadcast<Real>(c[n + i]), sum);
  }
  for (; n < count; ++n) {
    const Power<Real> decay = power_of_two<Real, kClamp>(d, a[n], k);
    Vector<Real> entering = input * b[n];
    if constexpr (kHeld) entering *= held_input<Real>(decay, d, s.inverse_a[first + n]);
    h[n] = multiply_add(decay.value, h[n], entering);
    sum = multiply_add(h[n], broadcast<Real>(c[n]), sum);
  }
  return sum;
}

/// y += C h over all steps for the states of a slice, which stay in registers.
template <typename Real, bool kHeld, bool kClamp, int64_t kCount>
void advance_slice(const Stretch<Real>& s, int64_t first, const Ahead<Real>& ahead) {
  const PowerConstants<Real> k;
  Vector<Real> h[kCount];
#pragma GCC unroll 16
  for (int64_t n = 0; n < kCount; ++n) h[n] = s.h[first + n];
  for (int64_t t = 0; t < s.steps; ++t) {
    constexpr int kRead = 0, kWrite = 1, kNear = 3;
    __builtin_prefetch(ahead.x + t * ahead.stride, kRead, kNear);
    __builtin_prefetch(ahead.delta + t * ahead.stride, kRead, kNear);
    __builtin_prefetch(ahead.y + t * ahead.stride, kWrite, kNear);
    s.y[t] = advance_step<Real, kHeld, kClamp>(s, t, first, kCount, h, s.y[t], k);
  }
#pragma GCC unroll 16
  for (int64_t n = 0; n < kCount; ++n) s.h[first + n] = h[n];
}

template <typename Real, bool kHeld, bool kClamp>
void advance_chunk(const Stretch<Real>& s, Vector<Real> skip, const Ahead<Real>& ahead) {
  for (int64_t t = 0; t < s.steps; ++t) s.y[t] = skip * s.x[t];
  const PowerConstants<Real> k;
  int64_t first = 0;
  for (; first + kSliceStates <= s.states; first += kSliceStates) {
    advance_slice<Real, kHeld, kClamp, kSliceStates>(s, first, ahead);
  }
  if (first == s.states) return;
  for (int64_t t = 0; t < s.steps; ++t) {
    s.y[t] = advance_step<Real, kHeld, kClamp>(s, t, first, s.states - first, s.h + first, s.y[t], k);
  }
}

/// A log2 e and 1/A by state; returns the largest |A log2 e| of each channel.
template <typename Real>
COLONNADE_INLINE Vector<Real> prepare_decay(const ScanInputs<Real>& in, int64_t states, Block block, Vector<Real>* a,
                                            Vector<Real>* inverse_a) {
  read_states<Real>(in.a, states, block, a);
  Integer<Real> largest = {};
  for (int64_t n = 0; n < states; ++n) {
    inverse_a[n] = Real(1) / a[n];
    a[n] *= Real(kLog2E);
    largest = larger_magnitude<Real>(largest, a[n]);
  }
  return (Vector<Real>)largest;
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
      const Stretch<Real> stretch{steps,         states, a + i * states, inverse_a + i * states, in.b + narrow,
                                  in.c + narrow, x,      delta,          h + i * states,         y};
      const int64_t next = (chunk + 1 < task.chunks ? task.row(chunk + 1, task.channels) : wide) + block.first;
      advance(stretch, read_channel<Real>(in.d, block), {in.x + next, in.delta + next, out.y + next, task.channels});
      write_rows<Real>(out.y + wide, task.channels, steps, block, y);
    }
  }
  for (int64_t i = 0; i < task.blocks; ++i) {
    write_states<Real>(out.h_last + state_row, states, task.block(i), h + i * states);
  }
}

}  // namespace colonnade::mamba::COLONNADE_SCAN_TARGET
