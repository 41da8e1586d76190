// The scan backwards in time. Part of selective_scan_passes.h.

namespace colonnade::mamba::COLONNADE_SCAN_TARGET {

/// Working memory of a backward task; [T, N] are registers of the block at hand, [kFolds, T, N] in db and dc.
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
    db = scratch.take(per_chunk * kFolds);
    dc = scratch.take(per_chunk * kFolds);
    x = scratch.take(kScanChunkSteps);
    delta = scratch.take(kScanChunkSteps);
    dy = scratch.take(kScanChunkSteps);
    dx = scratch.take(kScanChunkSteps);
    ddelta = scratch.take(kScanChunkSteps);
  }
  static int64_t size(const Task<Real>& task) {
    constexpr int64_t kPerTask = 4, kPerChunk = 3 + 2 * kFolds, kRows = 5;
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
  const PowerConstants<Real> k;
  for (int64_t t = 0; t < steps; ++t) {
    const Vector<Real> d = m.delta[t];
    const Vector<Real> input = kHeld ? m.x[t] : d * m.x[t];
    const Real* bt = b + t * states;
    const Vector<Real>* before = m.h + t * states;
    Vector<Real>* after = m.h + (t + 1) * states;
#pragma GCC unroll 2
    for (int64_t n = 0; n < states; ++n) {
      const Power<Real> decay = power_of_two<Real, kClamp>(d, a[n], k);
      Vector<Real> entering = input * bt[n];
      if constexpr (kHeld) {
        const Vector<Real> held = held_input<Real>(decay, d, inverse_a[n]);
        m.held[t * states + n] = held;
        entering *= held;
      }
      m.decay[t * states + n] = decay.value;
      after[n] = multiply_add(decay.value, before[n], entering);
    }
  }
}

/// One chunk backwards in time. g holds a_{t+1} dL/dh_{t+1} and is left so for the chunk before.
template <typename Real, bool kHeld>
COLONNADE_INLINE void retreat_chunk(int64_t steps, int64_t states, const Vector<Real>* a, const Vector<Real>* inverse_a,
                                    const Real* b, const Real* c, Vector<Real> skip, Vector<Real>* g,
                                    Vector<Real>* fold_db, Vector<Real>* fold_dc, const BackwardBuffers<Real>& m) {
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
    Vector<Real>* db = fold_db + t * states;
    Vector<Real>* dc = fold_dc + t * states;
    Vector<Real> through_input = {};  // sum of g Bbar / delta (of g Bbar when held)
    Vector<Real> through_decay = {};  // sum of dL/dz A log2 e
    Vector<Real> through_held = {};   // sum of g a B
#pragma GCC unroll 2
    for (int64_t n = 0; n < states; ++n) {
      const Vector<Real> bn = broadcast<Real>(bt[n]);
      const Vector<Real> gradient = multiply_add(dy, broadcast<Real>(ct[n]), g[n]);
      const Vector<Real> carried = gradient * decay[n];
      const Vector<Real> dz = carried * before[n];
      dc[n] = multiply_add(dy, after[n], dc[n]);
      through_decay = multiply_add(dz, a[n], through_decay);
      g[n] = carried;
      m.da_chunk[n] = multiply_add(dz, d, m.da_chunk[n]);
      if constexpr (kHeld) {
        const Vector<Real> held = m.held[t * states + n];
        const Vector<Real> weighted = gradient * held;
        const Vector<Real> slope = held_input_slope<Real>(d * a[n] * Real(kLn2), decay[n], held, d, inverse_a[n]);
        m.da_chunk[n] = multiply_add(gradient * bn * x, slope, m.da_chunk[n]);
        db[n] = multiply_add(weighted, x, db[n]);
        through_input = multiply_add(weighted, bn, through_input);
        through_held = multiply_add(carried, bn, through_held);
      } else {
        db[n] = multiply_add(gradient, input, db[n]);
        through_input = multiply_add(gradient, bn, through_input);
      }
    }
    m.dx[t] = multiply_add(skip, dy, kHeld ? through_input : through_input * d);
    m.ddelta[t] = multiply_add(through_decay, broadcast<Real>(Real(kLn2)), (kHeld ? through_held : through_input) * x);
  }
}

/// Sets the lanes beyond a block's channels to zero: what they hold may not be finite, and a narrower register has
/// none.
template <typename Real>
void clear_padding(Vector<Real>* sums, int64_t count, Block block) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t lane = block.count; lane < kLanes<Real>; ++lane) sums[i][lane] = Real(0);
  }
}

COLONNADE_INLINE float sum_halves(Lanes<float>::Quarter v) {
  return (v[0] + v[2]) + (v[1] + v[3]);
}

COLONNADE_INLINE double sum_halves(Lanes<double>::Quarter v) {
  return v[0] + v[1];
}

/// Sums over kSumBytes of lanes, first half onto second until one is left.
template <typename Real>
void write_lane_sums(const Vector<Real>* folds, int64_t count, Real* to) {
  using Quarter = typename Lanes<Real>::Quarter;
  constexpr int64_t kQuartersPerFold = COLONNADE_SCAN_BYTES / sizeof(Quarter);
  for (int64_t i = 0; i < count; ++i) {
    Quarter quarter[4];
    for (int64_t q = 0; q < 4; ++q) {
      const auto* fold = reinterpret_cast<const Real*>(folds + q / kQuartersPerFold * count + i);
      __builtin_memcpy(quarter + q, fold + q % kQuartersPerFold * (kLanes<Real> / kQuartersPerFold), sizeof(Quarter));
    }
    to[i] = sum_halves((quarter[0] + quarter[2]) + (quarter[1] + quarter[3]));
  }
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
  Vector<Real>* db = m.db + i % kFolds * steps * states;
  Vector<Real>* dc = m.dc + i % kFolds * steps * states;
  const auto recompute = needs_no_clamp<Real>(steps, m.delta, m.largest_a[i]) ? recompute_chunk<Real, kHeld, false>
                                                                              : recompute_chunk<Real, kHeld, true>;
  recompute(steps, states, a, inverse_a, in.b + narrow, m);
  retreat_chunk<Real, kHeld>(steps, states, a, inverse_a, in.b + narrow, in.c + narrow, read_channel<Real>(in.d, block),
                             m.g + i * states, db, dc, m);
  if (block.count < kLanes<Real>) {
    clear_padding<Real>(db, steps * states, block);
    clear_padding<Real>(dc, steps * states, block);
  }
  write_rows<Real>(out.dx + wide, task.channels, steps, block, m.dx);
  write_rows<Real>(out.ddelta + wide, task.channels, steps, block, m.ddelta);
  for (int64_t n = 0; n < states; ++n) m.da[i * states + n] += m.da_chunk[n];
  Vector<Real> skip_gradient = {};
  for (int64_t t = 0; t < steps; ++t) skip_gradient = multiply_add(m.dy[t], m.x[t], skip_gradient);
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
    __builtin_memset(m.db, 0, count * kSumBytes);
    __builtin_memset(m.dc, 0, count * kSumBytes);
    // The last block first: where it is not full, clear_padding leaves zeros for the others to add to. And fold by
    // fold, since the sums of all do not fit the first-level cache.
    for (int64_t last = task.blocks - 1; last >= 0 && last >= task.blocks - kFolds; --last) {
      for (int64_t i = last; i >= 0; i -= kFolds) backward_block<Real, kHeld>(task, in, up, out, chunk, i, m);
    }
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
