// Lanes of neighbouring channels: registers, the exponential, reading and writing. Part of selective_scan_passes.h,
// which says how it is compiled.

namespace colonnade::mamba::COLONNADE_SCAN_TARGET {

#define COLONNADE_INLINE inline __attribute__((always_inline))

/// exp2 works on z = n + f, |f| <= 1/2: 2^f is 1 + f r(f), so that its error vanishes with f, and n is added to the
/// exponent. The coefficients of r were fitted by weighted least squares on Chebyshev nodes to the relative error of
/// 2^f: 2.2e-9 for float, 4e-18 for double.
template <typename Real>
struct Lanes;

/// Sums over channels have one order on every target, that of the widest register: 16 floats or 8 doubles, of which a
/// narrower register holds a part.
constexpr int64_t kSumBytes = 64;
constexpr int64_t kFolds = kSumBytes / COLONNADE_SCAN_BYTES;

template <>
struct Lanes<float> {
  using Vector = float __attribute__((vector_size(COLONNADE_SCAN_BYTES)));
  using Integer = int32_t __attribute__((vector_size(COLONNADE_SCAN_BYTES)));
  using Quarter = float __attribute__((vector_size(kSumBytes / 4)));
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
  using Quarter = double __attribute__((vector_size(kSumBytes / 4)));
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

#if COLONNADE_SCAN_BYTES == 64
COLONNADE_INLINE Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
COLONNADE_INLINE Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
COLONNADE_INLINE Vector<float> scale_exponent(Vector<float> v, Vector<float> n) {
  return (Vector<float>)_mm512_maskz_scalef_ps((__mmask16)-1, (__m512)v, (__m512)n);
}
COLONNADE_INLINE Vector<double> scale_exponent(Vector<double> v, Vector<double> n) {
  return (Vector<double>)_mm512_maskz_scalef_pd((__mmask8)-1, (__m512d)v, (__m512d)n);
}
#elif COLONNADE_SCAN_BYTES == 32
COLONNADE_INLINE Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
COLONNADE_INLINE Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#else
COLONNADE_INLINE Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
  return a * b + c;
}
COLONNADE_INLINE Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
  return a * b + c;
}
#endif

template <typename V>
COLONNADE_INLINE V multiply_subtract(V a, V b, V c) {
  return multiply_add(a, b, -c);
}

/// What exp(z) is made of, given z log2 e.
template <typename Real>
struct Power {
  Vector<Real> value;     // 2^(n + f)
  Vector<Real> fraction;  // r(f), so that 2^f - 1 = f r(f)
  Vector<Real> f;
  Vector<Real> rounded;  // n + kRound
};

/// v 2^n, which the caller knows to be a normal number: the same bits either way.
template <typename Real>
COLONNADE_INLINE Vector<Real> scaled(Vector<Real> v, Vector<Real> rounded, [[maybe_unused]] Vector<Real> round) {
#if COLONNADE_SCAN_BYTES == 64
  return scale_exponent(v, rounded - round);
#else
  return (Vector<Real>)((Integer<Real>)v + ((Integer<Real>)rounded << Lanes<Real>::kMantissaBits));
#endif
}

/// The larger of a magnitude's bits and those of |v|: bits are ordered as their numbers are, a NaN above all.
template <typename Real>
COLONNADE_INLINE Integer<Real> larger_magnitude(Integer<Real> bits, Vector<Real> v) {
  const Integer<Real> sign = (Integer<Real>)broadcast<Real>(Real(-0.0));
  const Integer<Real> magnitude = (Integer<Real>)v & ~sign;
  return magnitude > bits ? magnitude : bits;
}

/// The constants of powers_of_two, each in a register of its own through a loop.
template <typename Real>
struct PowerConstants {
  COLONNADE_INLINE PowerConstants() : round(broadcast<Real>(Lanes<Real>::kRound)), one(broadcast<Real>(1)) {
    for (int i = 0; i < Lanes<Real>::kOrder; ++i) exp2[i] = broadcast<Real>(Lanes<Real>::kExp2[i]);
#if defined(__x86_64__)
    // Hides that these are constants, of which the compiler would keep several copies.
    asm("" : "+v"(round), "+v"(one));
#pragma GCC unroll 16
    for (int i = 0; i < Lanes<Real>::kOrder; ++i) asm("" : "+v"(exp2[i]));
#endif
  }
  Vector<Real> round, one, exp2[Lanes<Real>::kOrder];
};

/// power[i] = 2^(d a[i]), held between 2^kLowest and 2^kHighest. Without `kClamp` the caller knows |d a| to be below
/// kUnclamped; both ways give the same bits there, since the factor is replaced and not the product, which lives
/// unrounded in fused operations. `kCount` chains of operations, each waiting for itself, go on side by side.
template <typename Real, bool kClamp, int kCount>
COLONNADE_INLINE void powers_of_two(Vector<Real> d, const Vector<Real>* a, const PowerConstants<Real>& k,
                                    Power<Real>* power) {
  using L = Lanes<Real>;
  Vector<Real> factor[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    factor[i] = a[i];
    if constexpr (kClamp) {
      const Vector<Real> product = d * a[i];
      factor[i] = product < L::kLowest ? L::kLowest / d : factor[i];
      factor[i] = product > L::kHighest ? L::kHighest / d : factor[i];
    }
    power[i].rounded = multiply_add(d, factor[i], k.round);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    power[i].f = multiply_subtract(d, factor[i], power[i].rounded - k.round);
    power[i].fraction = k.exp2[L::kOrder - 1];
  }
#pragma GCC unroll 16
  for (int order = L::kOrder - 2; order >= 0; --order) {
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      power[i].fraction = multiply_add(power[i].fraction, power[i].f, k.exp2[order]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    power[i].value = scaled<Real>(multiply_add(power[i].fraction, power[i].f, k.one), power[i].rounded, k.round);
    // Adding to the exponent of a NaN would make a number of it.
    if constexpr (kClamp) power[i].value = power[i].f == power[i].f ? power[i].value : power[i].f;
  }
}

template <typename Real, bool kClamp>
COLONNADE_INLINE Power<Real> power_of_two(Vector<Real> d, Vector<Real> a, const PowerConstants<Real>& k) {
  Power<Real> power;
  powers_of_two<Real, kClamp, 1>(d, &a, k, &power);
  return power;
}

/// (exp(z) - 1)/A times 1, from the parts of exp(z), z = delta A; delta where A is 0.
template <typename Real>
COLONNADE_INLINE Vector<Real> held_input(const Power<Real>& power, Vector<Real> delta, Vector<Real> inverse_a) {
  const Vector<Real> one = broadcast<Real>(1);
  const Vector<Real> scale = scaled<Real>(one, power.rounded, broadcast<Real>(Lanes<Real>::kRound));
  const Vector<Real> general = multiply_add(scale, power.f * power.fraction, scale - one) * inverse_a;
  const Vector<Real> near_zero = delta * (power.fraction * Real(kLog2E));
  return power.rounded == Lanes<Real>::kRound ? near_zero : general;
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
  for (int k = Lanes<Real>::kSeriesOrder; k >= 0; --k) {
    series = multiply_add(series, z, broadcast<Real>(Real(coefficients[k])));
  }
  const Vector<Real> general = multiply_subtract(delta, decay, held) * inverse_a;
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

}  // namespace colonnade::mamba::COLONNADE_SCAN_TARGET
