// The scan's kernels, without LibTorch, against the obvious float64 loop.
#include <catch2/catch.hpp>
#include <thread>

#include "scan_problem.h"

namespace colonnade::mamba {
namespace {

void serially(int64_t count, const ScanBody& body) {
  body(0, count);
}

void two_threads(int64_t count, const ScanBody& body) {
  std::thread other([&] { body(count / 2, count); });
  body(0, count / 2);
  other.join();
}

std::vector<SimdTarget> available_targets() {
  std::vector<SimdTarget> targets;
  for (const SimdTarget target : {SimdTarget::baseline, SimdTarget::avx2, SimdTarget::avx512}) {
    if (simd_target_available(target)) targets.push_back(target);
  }
  return targets;
}

const std::vector<ScanShape> kShapes = {{1, 1, 1, 1},   {2, 5, 3, 1},     {1, 33, 8, 3},   {2, 64, 13, 16},
                                        {1, 97, 70, 4}, {3, 31, 129, 16}, {1, 40, 17, 64}, {1, 35, 9, 256}};

template <typename Real>
void check_answer(const ScanAnswer<Real>& got, const ScanAnswer<double>& want, double forward_bound,
                  double gradient_bound) {
  CHECK(relative_error(got.y, want.y) < forward_bound);
  CHECK(relative_error(got.h_last, want.h_last) < forward_bound);
  CHECK(relative_error(got.dx, want.dx) < gradient_bound);
  CHECK(relative_error(got.ddelta, want.ddelta) < gradient_bound);
  CHECK(relative_error(got.da, want.da) < gradient_bound);
  CHECK(relative_error(got.db, want.db) < gradient_bound);
  CHECK(relative_error(got.dc, want.dc) < gradient_bound);
  CHECK(relative_error(got.dd, want.dd) < gradient_bound);
  CHECK(relative_error(got.dh0, want.dh0) < gradient_bound);
}

template <typename Real>
bool same_bits(const ScanAnswer<Real>& a, const ScanAnswer<Real>& b) {
  return a.y == b.y && a.h_last == b.h_last && a.dx == b.dx && a.ddelta == b.ddelta && a.da == b.da && a.db == b.db &&
         a.dc == b.dc && a.dd == b.dd && a.dh0 == b.dh0;
}

TEST_CASE("the kernels agree with the float64 loop, forward and backward") {
  unsigned seed = 0;
  for (const ScanShape& shape : kShapes) {
    const ScanProblem<double> problem = random_problem(shape, ++seed);
    for (const Discretization discretization : {Discretization::mamba, Discretization::zoh}) {
      const ScanAnswer<double> want = loop_answer(problem, discretization);
      for (const SimdTarget target : available_targets()) {
        CAPTURE(shape.batch, shape.length, shape.channels, shape.states, simd_target_name(target));
        CAPTURE(discretization == Discretization::zoh);
        check_answer(kernel_answer(cast_problem<float>(problem), discretization, target, serially), want, 1e-5, 1e-4);
        check_answer(kernel_answer(problem, discretization, target, serially), want, 1e-13, 1e-12);
      }
    }
  }
}

TEST_CASE("one and two threads give the same bits") {
  const ScanProblem<float> problem = cast_problem<float>(random_problem({2, 77, 200, 16}, 7));
  for (const Discretization discretization : {Discretization::mamba, Discretization::zoh}) {
    for (const SimdTarget target : available_targets()) {
      const auto one = kernel_answer(problem, discretization, target, serially);
      CHECK(same_bits(one, kernel_answer(problem, discretization, target, two_threads)));
      CHECK(same_bits(one, kernel_answer(problem, discretization, target, serially)));
    }
  }
}

TEST_CASE("a sequence in two pieces equals the whole, bit for bit where the pieces are whole chunks") {
  const int64_t length = 90;
  const ScanShape shape{1, length, 21, 5};
  const ScanProblem<float> whole = cast_problem<float>(random_problem(shape, 11));
  const auto want = kernel_answer(whole, Discretization::mamba, simd_target(), serially);
  for (const int64_t split : {int64_t{1}, int64_t{37}, int64_t{64}, length - 1}) {
    std::vector<float> y(whole.x.size());
    std::vector<float> h_middle(whole.h0.size());
    std::vector<float> h_last(whole.h0.size());
    const int64_t wide = split * shape.channels;
    const int64_t narrow = split * shape.states;
    ScanShape piece = shape;
    piece.length = split;
    selective_scan_forward<float>(piece, Discretization::mamba,
                                  {whole.x.data(), whole.delta.data(), whole.a.data(), whole.b.data(), whole.c.data(),
                                   whole.d.data(), whole.h0.data()},
                                  {y.data(), h_middle.data(), nullptr}, serially, simd_target());
    piece.length = length - split;
    selective_scan_forward<float>(piece, Discretization::mamba,
                                  {whole.x.data() + wide, whole.delta.data() + wide, whole.a.data(),
                                   whole.b.data() + narrow, whole.c.data() + narrow, whole.d.data(), h_middle.data()},
                                  {y.data() + wide, h_last.data(), nullptr}, serially, simd_target());
    CHECK(y == want.y);
    CHECK(h_last == want.h_last);
  }
}

TEST_CASE("the zero-order hold has its limit where A vanishes, and joins its series smoothly") {
  ScanProblem<double> problem = random_problem({1, 9, 8, 4}, 5);
  for (size_t i = 0; i < problem.a.size(); ++i) problem.a[i] = i % 4 == 0 ? 0.0 : -std::pow(10.0, double(i % 11) - 9.0);
  const ScanAnswer<double> want = loop_answer(problem, Discretization::zoh);
  for (const SimdTarget target : available_targets()) {
    const auto got = kernel_answer(problem, Discretization::zoh, target, serially);
    // The loop's own quotient (delta exp - held)/A loses digits near 0, hence the wider bound for dA.
    CHECK(relative_error(got.y, want.y) < 1e-13);
    CHECK(relative_error(got.dx, want.dx) < 1e-13);
    CHECK(relative_error(got.ddelta, want.ddelta) < 1e-13);
    CHECK(relative_error(got.da, want.da) < 1e-9);
  }
}

TEST_CASE("the scan's exponential is as accurate as documented") {
  std::vector<float> single;
  std::vector<double> real_double;
  for (double z = -85.0; z < 85.0; z += 0.00137) {
    single.push_back(static_cast<float>(z));
    real_double.push_back(z);
  }
  for (const SimdTarget target : available_targets()) {
    std::vector<float> single_out(single.size());
    std::vector<double> double_out(real_double.size());
    scan_exponential(single.data(), single_out.data(), static_cast<int64_t>(single.size()), target);
    scan_exponential(real_double.data(), double_out.data(), static_cast<int64_t>(real_double.size()), target);
    double worst_single = 0;
    double worst_double = 0;
    for (size_t i = 0; i < single.size(); ++i) {
      const double exact = std::exp(static_cast<double>(single[i]));
      const auto nearest = static_cast<float>(exact);
      const double unit = std::nextafter(nearest, 1e38F) - nearest;
      const double allowed = 2 * std::max(1.0, std::abs(real_double[i]));
      worst_single = std::max(worst_single, std::abs(single_out[i] - exact) / unit / allowed);
      const long double exact_long = std::exp(static_cast<long double>(real_double[i]));
      const auto nearest_double = static_cast<double>(exact_long);
      const double unit_double = std::nextafter(nearest_double, 1e308) - nearest_double;
      worst_double = std::max(worst_double, std::abs(double(double_out[i] - exact_long)) / unit_double / allowed);
    }
    CHECK(worst_single <= 1.0);
    CHECK(worst_double <= 1.0);
  }
}

TEST_CASE("extreme steps neither overflow nor become NaN") {
  ScanProblem<float> problem = cast_problem<float>(random_problem({1, 40, 9, 3}, 3));
  for (float& delta : problem.delta) delta *= 1e4F;
  for (const SimdTarget target : available_targets()) {
    const auto got = kernel_answer(problem, Discretization::zoh, target, serially);
    for (const float y : got.y) CHECK(std::isfinite(y));
    for (const float g : got.ddelta) CHECK(std::isfinite(g));
  }
}

TEST_CASE("the SIMD target is chosen by name") {
  CHECK(simd_target_named("baseline") == SimdTarget::baseline);
  CHECK(simd_target_available(simd_target_named("native")));
  CHECK(simd_target_named("") == simd_target_named("native"));
  for (const SimdTarget target : {SimdTarget::avx2, SimdTarget::avx512}) {
    const std::string word = simd_target_name(target);
    if (simd_target_available(target)) {
      CHECK(simd_target_named(word) == target);
      CHECK(simd_target_named("portable") >= target);
    } else {
      CHECK_THROWS_WITH(simd_target_named(word), Catch::Contains("this processor has no AVX"));
    }
  }
  CHECK_THROWS_WITH(simd_target_named("avx"), Catch::Contains("COLONNADE_SIMD=avx:") &&
                                                  Catch::Contains("avx2, avx512, baseline, native, portable"));
}

TEST_CASE("a state count out of range is refused") {
  const ScanProblem<float> problem = cast_problem<float>(random_problem({1, 1, 1, 257}, 1));
  CHECK_THROWS_WITH(kernel_answer(problem, Discretization::mamba, SimdTarget::baseline, serially),
                    Catch::Contains("257 states") && Catch::Contains("1 to 256"));
}

}  // namespace
}  // namespace colonnade::mamba
