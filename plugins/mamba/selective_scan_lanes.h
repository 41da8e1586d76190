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

namespace colonnade::mamba::COLONNADE_SCAN_TARGET {

#define COLONNADE_INLINE inline __attribute__((always_inline))

/// exp2 works on z = n + f, |f| <= 1/2: 2^f is 1 + f r(f), and n is added to the exponent's bits. The coefficients of r
/// were fitted by weighted least squares on Chebyshev nodes to the relative error of 2^f: 2.2e-9 for float, 4e-18 for
/// double.
template <typename Real>
struct Lanes;

template <>
struct Lanes<float> {
  using Vector = float __attribute__((vector_size(COLONNADE_SCAN_BYTES)));
  using Integer = int32_t __attribute__((vector_size(COLONNADE_SCAN_BYTES)));
  static constexpr int kMantissaBits = 23;
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the lowest bits
  static constexpr float kLowest = -125.0f;
  static constexpr float kHighest = 127.4f;
  static constexpr float kUnclamped = 124.0f;
  static constexpr int kOrder = 6;
  static constexpr float kExp2[kOrder] = {0.69314720557710043433f,   0.24022648462281301f,
                                          0.055503290351536305045f,  0.0096183732513517746231f,
                                          0.0013399848290696256427f, 0.00015370704816680934154f};
  static constexpr int kSeriesOrder = 7;
};

template <>
struct Lanes<double> {
  using Vector = double __attribute__((vector_size(COLONNADE_SCAN_BYTES)));
  using Integer = int64_t __attribute__((vector_size(COLONNADE_SCAN_BYTES)));
  static constexpr int kMantissaBits = 52;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLowest = -1021.0;
  static constexpr double kHighest = 1023.4;
  static constexpr double kUnclamped = 1020.0;
  static constexpr int kOrder = 11;
  static constexpr double kExp2[kOrder] = {
      0.69314718055994533513,   0.24022650695910132479,    0.05550410866481954503,     0.0096181291075937349555,
      0.0013333558146874726842, 0.00015403530457518834653, 0.000015252733412140717397, 1.3215435106247474824e-6,
      1.0178229258049394143e-7, 7.0738101550998620905e-9,  4.4307278984014654442e-10};
  static constexpr int kSeriesOrder = 14;
};

template <typename Real>
using Vector = typename Lanes<Real>::Vector;
template <typename Real>
using Integer = typename Lanes<Real>::Integer;
template <typename Real>
constexpr int64_t kLanes = COLONNADE_SCAN_BYTES / sizeof(Real);

constexpr double kLog2E = 1.4426950408889634074;
constexpr double kLn2 = 0.69314718055994530942;

#if defined(__SSE2__)
/// Flushes subnormals while it lives: a state that decays to them would run a hundred times slower.
class FlushSubnormals {
 public:
  FlushSubnormals() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(saved_ | kFlushAndTreatAsZero); }
  ~FlushSubnormals() { __builtin_ia32_ldmxcsr(saved_); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  static constexpr unsigned kFlushAndTreatAsZero = 0x8040;
  unsigned saved_;
};
#else
class FlushSubnormals {
 public:
  FlushSubnormals() {}
  ~FlushSubnormals() {}
};
#endif

/// Registers' worth of working memory, aligned, freed at the end.
template <typename Real>
class Scratch {
 public:
  explicit Scratch(int64_t vectors)
      : memory_(static_cast<Vector<Real>*>(::operator new(vectors * sizeof(Vector<Real>), kAlignment))) {}
  ~Scratch() { ::operator delete(memory_, kAlignment); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  Vector<Real>* take(int64_t vectors) {
    Vector<Real>* taken = memory_ + used_;
    used_ += vectors;
    return taken;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  Vector<Real>* memory_;
  int64_t used_ = 0;
};

template <typename Real>
COLONNADE_INLINE Vector<Real> load(const Real* from) {
  Vector<Real> v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}

template <typename Real>
COLONNADE_INLINE void store(Real* to, Vector<Real> v) {
  __builtin_memcpy(to, &v, sizeof(v));
}

template <typename Real>
COLONNADE_INLINE Vector<Real> broadcast(Real value) {
  return value - Vector<Real>{};
}

/// What exp(z) is made of, given z log2 e.
template <typename Real>
struct Power {
  Vector<Real> value;     // 2^(n + f)
  Vector<Real> fraction;  // r(f), so that 2^f - 1 = f r(f)
  Vector<Real> f;
  Integer<Real> exponent;  // n, shifted into the exponent's bits
};

/// 2^(d a), held between 2^kLowest and 2^kHighest. Without `kClamp` the caller knows |d a| to be below kUnclamped; both
/// ways give the same bits there, since the factor is replaced and not the product, which lives unrounded in fused
/// operations.
template <typename Real, bool kClamp>
COLONNADE_INLINE Power<Real> power_of_two(Vector<Real> d, Vector<Real> a) {
  using L = Lanes<Real>;
  if constexpr (kClamp) {
    const Vector<Real> product = d * a;
    a = product < L::kLowest ? L::kLowest / d : a;
    a = product > L::kHighest ? L::kHighest / d : a;
  }
  const Vector<Real> z = d * a;
  const Vector<Real> rounded = z + L::kRound;
  Power<Real> power;
  power.f = z - (rounded - L::kRound);
  power.exponent = (Integer<Real>)rounded << L::kMantissaBits;
  Vector<Real> r = broadcast<Real>(L::kExp2[L::kOrder - 1]);
#pragma GCC unroll 16
  for (int i = L::kOrder - 2; i >= 0; --i) r = r * power.f + L::kExp2[i];
  power.fraction = r;
  const Vector<Real> mantissa = r * power.f + Real(1);
  power.value = (Vector<Real>)((Integer<Real>)mantissa + power.exponent);
  return power;
}

/// (exp(z) - 1)/A times 1, from the parts of exp(z), z = delta A; delta where A is 0.
template <typename Real>
COLONNADE_INLINE Vector<Real> held_input(const Power<Real>& power, Vector<Real> delta, Vector<Real> inverse_a) {
  const Vector<Real> one = broadcast<Real>(1);
  const Vector<Real> scale = (Vector<Real>)((Integer<Real>)one + power.exponent);
  const Vector<Real> general = (scale * (power.f * power.fraction) + (scale - one)) * inverse_a;
  const Vector<Real> near_zero = delta * (power.fraction * Real(kLog2E));
  return power.exponent == 0 ? near_zero : general;
}

/// The derivative of held_input by A: (delta exp(z) - held)/A, near z = 0 delta^2 sum_k z^k/(k! (k + 2)).
template <typename Real>
COLONNADE_INLINE Vector<Real> held_input_slope(Vector<Real> z, Vector<Real> decay, Vector<Real> held,
                                               Vector<Real> delta, Vector<Real> inverse_a) {
  constexpr double kSmall = 0.34;
  Vector<Real> series = {};
  double factorial = 1;
  double coefficients[Lanes<Real>::kSeriesOrder + 1] = {};
#pragma GCC unroll 16
  for (int k = 0; k <= Lanes<Real>::kSeriesOrder; ++k) {
    if (k > 0) factorial *= k;
    coefficients[k] = 1.0 / (factorial * (k + 2));
  }
#pragma GCC unroll 16
  for (int k = Lanes<Real>::kSeriesOrder; k >= 0; --k) series = series * z + Real(coefficients[k]);
  const Vector<Real> general = (delta * decay - held) * inverse_a;
  return (z < Real(kSmall)) & (z > Real(-kSmall)) ? delta * delta * series : general;
}

/// Which channels a block is.
struct Block {
  int64_t first;  // channel
  int64_t count;  // channels in it, at most the lanes
};

template <typename Real>
COLONNADE_INLINE void read_rows(const Real* from, int64_t stride, int64_t steps, Block block, Vector<Real>* rows) {
  from += block.first;
  if (block.count == kLanes<Real>) {
    for (int64_t t = 0; t < steps; ++t) rows[t] = load<Real>(from + t * stride);
    return;
  }
  for (int64_t t = 0; t < steps; ++t) {
    rows[t] = Vector<Real>{};
    __builtin_memcpy(&rows[t], from + t * stride, block.count * sizeof(Real));
  }
}

template <typename Real>
COLONNADE_INLINE void write_rows(Real* to, int64_t stride, int64_t steps, Block block, const Vector<Real>* rows) {
  to += block.first;
  if (block.count == kLanes<Real>) {
    for (int64_t t = 0; t < steps; ++t) store<Real>(to + t * stride, rows[t]);
    return;
  }
  for (int64_t t = 0; t < steps; ++t) __builtin_memcpy(to + t * stride, &rows[t], block.count * sizeof(Real));
}

/// [D, N] in memory to one register per state.
template <typename Real>
void read_states(const Real* from, int64_t states, Block block, Vector<Real>* out) {
  for (int64_t n = 0; n < states; ++n) out[n] = Vector<Real>{};
  if (from == nullptr) return;
  for (int64_t lane = 0; lane < block.count; ++lane) {
    const Real* row = from + (block.first + lane) * states;
    for (int64_t n = 0; n < states; ++n) out[n][lane] = row[n];
  }
}

template <typename Real>
void write_states(Real* to, int64_t states, Block block, const Vector<Real>* in) {
  for (int64_t lane = 0; lane < block.count; ++lane) {
    Real* row = to + (block.first + lane) * states;
    for (int64_t n = 0; n < states; ++n) row[n] = in[n][lane];
  }
}

template <typename Real>
Vector<Real> read_channel(const Real* from, Block block) {
  Vector<Real> v = {};
  if (from != nullptr) __builtin_memcpy(&v, from + block.first, block.count * sizeof(Real));
  return v;
}

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
  for (int64_t i = 0; i < count; i += kLanes<Real>) {
    const int64_t left = count - i;
    const Block block{i, left < kLanes<Real> ? left : kLanes<Real>};
    Vector<Real> row;
    read_rows<Real>(z, 0, 1, block, &row);
    row = power_of_two<Real, true>(row, broadcast<Real>(Real(kLog2E))).value;
    write_rows<Real>(out, 0, 1, block, &row);
  }
}

inline const ScanKernelSet& kernel_set() {
  static constexpr ScanKernelSet set{{forward<float>, backward<float>, exponential<float>},
                                     {forward<double>, backward<double>, exponential<double>}};
  return set;
}

#undef COLONNADE_INLINE

}  // namespace colonnade::mamba::COLONNADE_SCAN_TARGET

#pragma GCC diagnostic pop
