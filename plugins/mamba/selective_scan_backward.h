// The scan backwards in time. Part of selective_scan_passes.h.

namespace colonnade::mamba::COLONNADE_SCAN_TARGET {

/// Working memory of a backward task; [T, N] are registers of the block at hand.
template <typename Real>
struct BackwardBuffers {
  BackwardBuffers(const Task<Real>& task, Scratch<Real>& scratch) {
    const int64_t per_task = task.blocks * task.states;
    const int64_t per_chunk = kScanChunkSteps * task.states;
    a = scratch.take(per_task);
    inverse_a = scratch.take(per_task);
    g = scratch.take(per_task);
    da = scratch.take(per_task);
    dd = scratch.take(task.blocks);
    largest_a = scratch.take(task.blocks);
    da_chunk = scratch.take(task.states);
    h = scratch.take(per_chunk + task.states);
    decay = scratch.take(per_chunk);
    held = scratch.take(per_chunk);
    db = scratch.take(per_chunk);
    dc = scratch.take(per_chunk);
    x = scratch.take(kScanChunkSteps);
    delta = scratch.take(kScanChunkSteps);
    dy = scratch.take(kScanChunkSteps);
    dx = scratch.take(kScanChunkSteps);
    ddelta = scratch.take(kScanChunkSteps);
  }
  static int64_t size(const Task<Real>& task) {
    constexpr int64_t kPerTask = 4, kPerChunk = 5, kRows = 5;
    return kPerTask * task.blocks * task.states + 2 * task.blocks + 2 * task.states +
           (kPerChunk * task.states + kRows) * kScanChunkSteps;
  }
  Vector<Real>*a, *inverse_a, *g, *da, *dd, *largest_a, *da_chunk, *h, *decay, *held, *db, *dc, *x, *delta, *dy, *dx,
      *ddelta;
};

/// States [T + 1, N] and decays [T, N] of a chunk again, from the state at its start, h[0].
template <typename Real, bool kHeld, bool kClamp>
void recompute_chunk(int64_t steps, int64_t states, const Vector<Real>* a, const Vector<Real>* inverse_a, const Real* b,
                     const BackwardBuffers<Real>& m) {
  for (int64_t t = 0; t < steps; ++t) {
    const Vector<Real> d = m.delta[t];
    const Vector<Real> input = kHeld ? m.x[t] : d * m.x[t];
    const Real* bt = b + t * states;
    const Vector<Real>* before = m.h + t * states;
    Vector<Real>* after = m.h + (t + 1) * states;
#pragma GCC unroll 2
    for (int64_t n = 0; n < states; ++n) {
      const Power<Real> decay = power_of_two<Real, kClamp>(d, a[n]);
      Vector<Real> entering = input * bt[n];
      if constexpr (kHeld) {
        const Vector<Real> held = held_input<Real>(decay, d, inverse_a[n]);
        m.held[t * states + n] = held;
        entering *= held;
      }
      m.decay[t * states + n] = decay.value;
      after[n] = decay.value * before[n] + entering;
    }
  }
}

/// One chunk backwards in time. g holds a_{t+1} dL/dh_{t+1} and is left so for the chunk before.
template <typename Real, bool kHeld>
COLONNADE_INLINE void retreat_chunk(int64_t steps, int64_t states, const Vector<Real>* a, const Vector<Real>* inverse_a,
                                    const Real* b, const Real* c, Vector<Real> skip, Vector<Real>* g,
                                    const BackwardBuffers<Real>& m) {
  for (int64_t t = steps - 1; t >= 0; --t) {
    const Vector<Real> d = m.delta[t];
    const Vector<Real> x = m.x[t];
    const Vector<Real> dy = m.dy[t];
    const Vector<Real> input = d * x;
    const Real* bt = b + t * states;
    const Real* ct = c + t * states;
    const Vector<Real>* decay = m.decay + t * states;
    const Vector<Real>* before = m.h + t * states;
    const Vector<Real>* after = before + states;
    Vector<Real>* db = m.db + t * states;
    Vector<Real>* dc = m.dc + t * states;
    Vector<Real> through_input = {};  // sum of g Bbar / delta (of g Bbar when held)
    Vector<Real> through_decay = {};  // sum of dL/dz A log2 e
    Vector<Real> through_held = {};   // sum of g a B
#pragma GCC unroll 2
    for (int64_t n = 0; n < states; ++n) {
      const Vector<Real> gradient = g[n] + dy * ct[n];
      const Vector<Real> carried = gradient * decay[n];
      const Vector<Real> dz = carried * before[n];
      dc[n] += dy * after[n];
      through_decay += dz * a[n];
      g[n] = carried;
      if constexpr (kHeld) {
        const Vector<Real> held = m.held[t * states + n];
        const Vector<Real> weighted = gradient * held;
        const Vector<Real> slope = held_input_slope<Real>(d * a[n] * Real(kLn2), decay[n], held, d, inverse_a[n]);
        m.da_chunk[n] += dz * d + gradient * bt[n] * x * slope;
        db[n] += weighted * x;
        through_input += weighted * bt[n];
        through_held += carried * bt[n];
      } else {
        m.da_chunk[n] += dz * d;
        db[n] += gradient * input;
        through_input += gradient * bt[n];
      }
    }
    m.dx[t] = (kHeld ? through_input : through_input * d) + skip * dy;
    m.ddelta[t] = through_decay * Real(kLn2) + (kHeld ? through_held : through_input) * x;
  }
}

/// Sums of the lanes, first half onto second until one is left.
template <typename Real>
COLONNADE_INLINE Real sum_lanes(Vector<Real> v) {
  for (int64_t half = kLanes<Real> / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) v[i] += v[i + half];
  }
  return v[0];
}

template <typename Real>
void write_lane_sums(const Vector<Real>* from, int64_t count, Real* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = sum_lanes<Real>(from[i]);
}

/// One block in one chunk.
template <typename Real, bool kHeld>
void backward_block(const Task<Real>& task, const ScanInputs<Real>& in, const ScanUpstream<Real>& up,
                    const ScanGradients<Real>& out, int64_t chunk, int64_t i, BackwardBuffers<Real>& m) {
  const int64_t states = task.states;
  const int64_t steps = task.steps(chunk);
  const int64_t wide = task.row(chunk, task.channels);
  const int64_t narrow = task.row(chunk, states);
  const Block block = task.block(i);
  __builtin_memcpy(m.h, up.boundaries + task.boundary(chunk, block), states * sizeof(Vector<Real>));
  __builtin_memset(m.da_chunk, 0, states * sizeof(Vector<Real>));
  read_rows<Real>(in.x + wide, task.channels, steps, block, m.x);
  read_rows<Real>(in.delta + wide, task.channels, steps, block, m.delta);
  read_rows<Real>(up.dy + wide, task.channels, steps, block, m.dy);
  const Vector<Real>* a = m.a + i * states;
  const Vector<Real>* inverse_a = m.inverse_a + i * states;
  const auto recompute = needs_no_clamp<Real>(steps, m.delta, m.largest_a[i]) ? recompute_chunk<Real, kHeld, false>
                                                                              : recompute_chunk<Real, kHeld, true>;
  recompute(steps, states, a, inverse_a, in.b + narrow, m);
  retreat_chunk<Real, kHeld>(steps, states, a, inverse_a, in.b + narrow, in.c + narrow, read_channel<Real>(in.d, block),
                             m.g + i * states, m);
  write_rows<Real>(out.dx + wide, task.channels, steps, block, m.dx);
  write_rows<Real>(out.ddelta + wide, task.channels, steps, block, m.ddelta);
  for (int64_t n = 0; n < states; ++n) m.da[i * states + n] += m.da_chunk[n];
  Vector<Real> skip_gradient = {};
  for (int64_t t = 0; t < steps; ++t) skip_gradient += m.dy[t] * m.x[t];
  m.dd[i] += skip_gradient;
}

template <typename Real, bool kHeld>
void backward_task(const ScanShape& shape, const ScanInputs<Real>& in, const ScanUpstream<Real>& up,
                   const ScanGradients<Real>& out, const ScanPartials<Real>& partials, int64_t index) {
  const Task<Real> task(shape, index);
  const int64_t states = task.states;
  Scratch<Real> scratch(BackwardBuffers<Real>::size(task));
  BackwardBuffers<Real> m(task, scratch);
  const int64_t state_row = task.batch * task.channels * states;
  for (int64_t i = 0; i < task.blocks; ++i) {
    m.largest_a[i] = prepare_decay<Real>(in, states, task.block(i), m.a + i * states, m.inverse_a + i * states);
    read_states<Real>(up.dh_last == nullptr ? nullptr : up.dh_last + state_row, states, task.block(i),
                      m.g + i * states);
  }
  __builtin_memset(m.da, 0, task.blocks * states * sizeof(Vector<Real>));
  __builtin_memset(m.dd, 0, task.blocks * sizeof(Vector<Real>));
  const int64_t partial = task.group * shape.batch * task.length * states;
  for (int64_t chunk = task.chunks - 1; chunk >= 0; --chunk) {
    const int64_t count = task.steps(chunk) * states;
    __builtin_memset(m.db, 0, count * sizeof(Vector<Real>));
    __builtin_memset(m.dc, 0, count * sizeof(Vector<Real>));
    for (int64_t i = 0; i < task.blocks; ++i) backward_block<Real, kHeld>(task, in, up, out, chunk, i, m);
    write_lane_sums<Real>(m.db, count, partials.db + partial + task.row(chunk, states));
    write_lane_sums<Real>(m.dc, count, partials.dc + partial + task.row(chunk, states));
  }
  for (int64_t i = 0; i < task.blocks; ++i) {
    const Block block = task.block(i);
    write_states<Real>(partials.da + state_row, states, block, m.da + i * states);
    if (out.dh0 != nullptr) write_states<Real>(out.dh0 + state_row, states, block, m.g + i * states);
    write_rows<Real>(partials.dd + task.batch * task.channels, task.channels, 1, block, m.dd + i);
  }
}

}  // namespace colonnade::mamba::COLONNADE_SCAN_TARGET
