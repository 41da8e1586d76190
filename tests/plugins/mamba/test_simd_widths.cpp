// Registers of 32 and of 64 bytes give the same bits: a study replays identically on machines with either.
#include <catch2/catch.hpp>
#include <cstring>
#include <limits>

#include "plugins/mamba/causal_conv.h"
#include "scan_problem.h"

namespace colonnade::mamba {
namespace {

void serially(int64_t count, const ScanBody& body) {
  body(0, count);
}

bool has_both_widths() {
  const bool both = simd_target_available(SimdTarget::avx2) && simd_target_available(SimdTarget::avx512);
  if (!both) WARN("this processor lacks AVX2 or AVX-512: their bits are not compared");
  return both;
}

/// The same bits; a NaN equals any other, since which of two NaNs an operation hands on is not defined.
template <typename Real>
bool same_bits(const std::vector<Real>& a, const std::vector<Real>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(Real)) != 0) return false;
  }
  return a.size() == b.size();
}

template <typename Real>
void check_widths(const ScanProblem<Real>& problem, Discretization discretization) {
  const auto narrow = kernel_answer(problem, discretization, SimdTarget::avx2, serially);
  const auto wide = kernel_answer(problem, discretization, SimdTarget::avx512, serially);
  CHECK(same_bits(narrow.y, wide.y));
  CHECK(same_bits(narrow.h_last, wide.h_last));
  CHECK(same_bits(narrow.dx, wide.dx));
  CHECK(same_bits(narrow.ddelta, wide.ddelta));
  CHECK(same_bits(narrow.da, wide.da));
  CHECK(same_bits(narrow.db, wide.db));
  CHECK(same_bits(narrow.dc, wide.dc));
  CHECK(same_bits(narrow.dd, wide.dd));
  CHECK(same_bits(narrow.dh0, wide.dh0));
}

void check_widths(const ScanProblem<double>& problem) {
  for (const Discretization discretization : {Discretization::mamba, Discretization::zoh}) {
    CAPTURE(problem.shape.batch, problem.shape.length, problem.shape.channels, problem.shape.states);
    CAPTURE(discretization == Discretization::zoh);
    check_widths(cast_problem<float>(problem), discretization);
    check_widths(problem, discretization);
  }
}

class Draw {
 public:
  explicit Draw(unsigned seed) : generator_(seed) {}
  int64_t between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(generator_); }
  ScanShape shape() { return {between(1, 2), between(1, 70), between(1, 140), between(1, 20)}; }

 private:
  std::mt19937 generator_;
};

TEST_CASE("AVX2 and AVX-512 give the same bits, whatever the shape and the options") {
  if (!has_both_widths()) return;
  constexpr unsigned kTimes = 24;
  Draw draw(1);
  for (unsigned seed = 0; seed < kTimes; ++seed) {
    ScanProblem<double> problem = random_problem(draw.shape(), seed);
    if (seed % 2 == 1) problem.d.clear();
    if (seed / 2 % 2 == 1) problem.h0.clear();
    if (seed / 4 % 2 == 1) problem.dh_last.clear();
    check_widths(problem);
  }
}

TEST_CASE("AVX2 and AVX-512 give the same bits where numbers are huge, tiny or none") {
  if (!has_both_widths()) return;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double strange[] = {std::nan(""), kInfinity, -kInfinity, 1e30, -1e30, 1e5, -1e5, 1e-42, 0.0, -0.0};
  constexpr unsigned kTimes = 60;
  Draw draw(2);
  for (unsigned seed = 0; seed < kTimes; ++seed) {
    ScanProblem<double> problem = random_problem(draw.shape(), seed);
    std::vector<double>* const arrays[] = {&problem.x, &problem.delta, &problem.a,  &problem.b,
                                           &problem.c, &problem.d,     &problem.h0, &problem.dy};
    std::vector<double>& array = *arrays[seed % std::size(arrays)];
    const int64_t count = draw.between(1, 3);
    for (int64_t i = 0; i < count; ++i) {
      array[draw.between(0, array.size() - 1)] = strange[draw.between(0, std::size(strange) - 1)];
    }
    check_widths(problem);
  }
}

TEST_CASE("AVX2 and AVX-512 give the same exponentials") {
  if (!has_both_widths()) return;
  std::vector<float> z;
  for (float value = -100; value < 100; value += 0.0137F) z.push_back(value);
  z.insert(z.end(), {std::nanf(""), HUGE_VALF, -HUGE_VALF, 1e30F, -1e30F, -0.0F});
  std::vector<float> narrow(z.size()), wide(z.size());
  scan_exponential(z.data(), narrow.data(), static_cast<int64_t>(z.size()), SimdTarget::avx2);
  scan_exponential(z.data(), wide.data(), static_cast<int64_t>(z.size()), SimdTarget::avx512);
  CHECK(same_bits(narrow, wide));
}

template <typename Real>
std::vector<Real> convolve(const ConvShape& shape, const ScanProblem<Real>& from, bool with_bias, SimdTarget target) {
  const int64_t wide = shape.batch * shape.length * shape.channels;
  const int64_t taps = shape.width * shape.channels;
  std::vector<Real> out(2 * wide + taps + shape.channels);
  Real* const y = out.data();
  Real* const dx = y + wide;
  Real* const dtaps = dx + wide;
  ConvInputs<Real> in;
  in.x = from.x.data();
  in.x_batch = shape.length * shape.channels;
  in.x_row = shape.channels;
  in.taps = from.a.data();
  in.bias = with_bias ? from.d.data() : nullptr;
  conv_silu_forward<Real>(shape, in, y, serially, target);
  conv_silu_backward<Real>(shape, in, from.dy.data(), {dx, dtaps, with_bias ? dtaps + taps : nullptr}, serially,
                           target);
  return out;
}

TEST_CASE("AVX2 and AVX-512 convolve to the same bits") {
  if (!has_both_widths()) return;
  constexpr unsigned kTimes = 24;
  Draw draw(3);
  for (unsigned seed = 0; seed < kTimes; ++seed) {
    const int64_t width = draw.between(1, kMaxConvWidth);
    const ConvShape shape{draw.between(1, 2), draw.between(1, 70), draw.between(1, 140), width};
    // The taps are taken from A, which has as many numbers.
    ScanProblem<double> problem = random_problem({shape.batch, shape.length, shape.channels, width}, seed);
    if (seed % 3 == 0) problem.x[draw.between(0, problem.x.size() - 1)] = seed % 2 == 0 ? 1e30 : std::nan("");
    for (const bool with_bias : {false, true}) {
      const auto both = [&](const auto& p) {
        CHECK(same_bits(convolve(shape, p, with_bias, SimdTarget::avx2),
                        convolve(shape, p, with_bias, SimdTarget::avx512)));
      };
      both(problem);
      both(cast_problem<float>(problem));
    }
  }
}

}  // namespace
}  // namespace colonnade::mamba
