#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "colonnade/random.h"
#include "plugins/scan/correlation.h"
#include "tests/plugins/scan/error_of.h"

using namespace colonnade;
using namespace colonnade::scan;

namespace {

// Normal samples [rows, d] around `offset`, neighbours correlated.
template <typename Real>
std::vector<Real> make_samples(std::size_t rows, std::size_t d, double offset, std::uint64_t seed) {
  const RandomStream stream(seed);
  std::vector<Real> samples(rows * d);
  for (std::size_t row = 0; row < rows; ++row) {
    double level = 0;
    for (std::size_t i = 0; i < d; ++i) {
      level = 0.7 * level + stream.normal(row * d + i);
      samples[row * d + i] = static_cast<Real>(offset + level * (1.0 + static_cast<double>(i)));
    }
  }
  return samples;
}

// The definition in two passes, in long double.
template <typename Real>
std::vector<double> two_pass_covariance(const std::vector<Real>& samples, std::size_t d) {
  const std::size_t rows = samples.size() / d;
  std::vector<long double> mean(d, 0.0L);
  for (std::size_t index = 0; index < samples.size(); ++index) mean[index % d] += samples[index];
  for (auto& value : mean) value /= static_cast<long double>(rows);
  std::vector<double> covariance(d * d);
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t j = 0; j < d; ++j) {
      long double sum = 0;
      for (std::size_t row = 0; row < rows; ++row) {
        sum += (samples[row * d + i] - mean[i]) * (samples[row * d + j] - mean[j]);
      }
      covariance[i * d + j] = static_cast<double>(sum / static_cast<long double>(rows));
    }
  }
  return covariance;
}

double relative_error(const std::vector<double>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  double difference = 0;
  double largest = 0;
  for (std::size_t index = 0; index < found.size(); ++index) {
    difference = std::max(difference, std::abs(found[index] - expected[index]));
    largest = std::max(largest, std::abs(expected[index]));
  }
  return difference / largest;
}

template <typename Real>
CovarianceAccumulator accumulate(const std::vector<Real>& samples, std::size_t d) {
  CovarianceAccumulator accumulator(d);
  accumulator.add(std::span<const Real>(samples));
  return accumulator;
}

}  // namespace

TEMPLATE_TEST_CASE("Covariance agrees with two passes", "[scan]", float, double) {
  // Rows below, at and above a block of the accumulator; columns that fill its stripes and that do not.
  for (const std::size_t rows : {2U, 127U, 128U, 129U, 1000U}) {
    for (const std::size_t d : {1U, 3U, 32U, 45U}) {
      const auto samples = make_samples<TestType>(rows, d, 3.0, rows * 100 + d);
      const auto accumulator = accumulate(samples, d);
      CAPTURE(rows, d);
      CHECK(accumulator.samples() == rows);
      CHECK(relative_error(accumulator.covariance(), two_pass_covariance(samples, d)) < 1e-13);
    }
  }
}

TEST_CASE("A mean large against the spread costs no digits", "[scan]") {
  const std::size_t d = 5;
  const auto samples = make_samples<double>(3000, d, 1e8, 17);
  const double error = relative_error(accumulate(samples, d).covariance(), two_pass_covariance(samples, d));
  // The samples themselves are spaced 1.5e-8 apart; E[x^2] - E[x]^2 would leave an error of order 1.
  CHECK(error < 1e-9);
}

TEST_CASE("How a stream is cut changes no bit", "[scan]") {
  const std::size_t d = 37;
  const auto samples = make_samples<float>(700, d, 1.0, 5);
  const auto whole = accumulate(samples, d);
  for (const std::size_t rows : {1U, 7U, 128U, 300U}) {
    CovarianceAccumulator pieces(d);
    for (std::size_t start = 0; start < samples.size(); start += rows * d) {
      const std::size_t length = std::min(rows * d, samples.size() - start);
      pieces.add(std::span<const float>(samples).subspan(start, length));
      pieces.mean();  // looking closes no block
    }
    CAPTURE(rows);
    CHECK(pieces.covariance() == whole.covariance());
    CHECK(pieces.mean() == whole.mean());
    CHECK(pieces.correlation().rho == whole.correlation().rho);
  }
}

TEST_CASE("Merged accumulators agree with one", "[scan]") {
  const std::size_t d = 20;
  const auto samples = make_samples<double>(900, d, -4.0, 23);
  const auto expected = two_pass_covariance(samples, d);
  for (const std::size_t cut : {0U, 1U, 130U, 450U, 900U}) {
    CovarianceAccumulator first(d);
    CovarianceAccumulator second(d);
    first.add(std::span<const double>(samples).first(cut * d));
    second.add(std::span<const double>(samples).subspan(cut * d));
    first.merge(second);
    CAPTURE(cut);
    CHECK(first.samples() == 900);
    CHECK(relative_error(first.covariance(), expected) < 1e-13);
    // What follows a merge is counted on.
    first.add(std::span<const double>(samples));
    CHECK(relative_error(first.covariance(), expected) < 1e-13);
    CHECK(first.samples() == 1800);
  }
  CHECK(error_of([&] { CovarianceAccumulator(3).merge(CovarianceAccumulator(4)); }) ==
        "a covariance of 3 variables cannot take in one of 4");
}

TEST_CASE("Correlations are those of the covariance", "[scan]") {
  const std::size_t d = 33;
  const auto samples = make_samples<float>(500, d, 2.0, 8);
  const auto correlation = accumulate(samples, d).correlation();
  const auto covariance = two_pass_covariance(samples, d);
  REQUIRE(correlation.constants.empty());
  CHECK(correlation.samples == 500);
  for (std::size_t i = 0; i < d; ++i) {
    CHECK(correlation.at(i, i) == 1.0F);
    for (std::size_t j = 0; j < d; ++j) {
      const double expected = covariance[i * d + j] / std::sqrt(covariance[i * d + i] * covariance[j * d + j]);
      CHECK(correlation.at(i, j) == Approx(expected).margin(1e-6));
      CHECK(correlation.at(i, j) == correlation.at(j, i));
    }
  }
}

TEST_CASE("Variables that follow one another reach 1 and -1 and not beyond", "[scan]") {
  std::vector<float> samples;
  for (int row = 0; row < 1001; ++row) {
    const float value = std::sin(static_cast<float>(row)) * 0.1F;
    samples.insert(samples.end(), {value, value, -4 * value, value * value});
  }
  const auto correlation = accumulate(samples, 4).correlation();
  CHECK(correlation.at(0, 1) == 1.0F);
  CHECK(correlation.at(0, 2) == -1.0F);
  CHECK(std::abs(correlation.at(0, 3)) < 0.1F);
  const auto costs = correlation_costs(correlation);
  CHECK(costs[0 * 4 + 1] == 0.0F);
  CHECK(costs[0 * 4 + 2] == 0.0F);
  CHECK(costs[0 * 4 + 3] == 1.0F - std::abs(correlation.at(0, 3)));
  CHECK(costs[3 * 4 + 3] == 0.0F);
}

TEST_CASE("Constants correlate with nothing and are named", "[scan]") {
  // 0.1 has no exact mean; 1e30 leaves rounding that is large against other variables.
  std::vector<float> samples;
  for (int row = 0; row < 777; ++row) {
    const float value = std::cos(static_cast<float>(row));
    samples.insert(samples.end(), {value, 0.1F, 2 * value, 1e30F, 0.0F});
  }
  const auto correlation = accumulate(samples, 5).correlation();
  CHECK(correlation.constants == std::vector<std::uint32_t>{1, 3, 4});
  CHECK(correlation.at(0, 2) == 1.0F);
  for (std::size_t j = 0; j < 5; ++j) {
    CHECK(correlation.at(1, j) == 0.0F);
    CHECK(correlation.at(j, 3) == 0.0F);
  }
  CHECK(correlation_costs(correlation)[0 * 5 + 1] == 1.0F);
}

TEST_CASE("The smallest change a float can make is no constant", "[scan]") {
  std::vector<float> samples;
  for (int row = 0; row < 300; ++row) {
    const float large = row % 2 == 0 ? 1e6F : std::nextafter(1e6F, 2e6F);
    samples.insert(samples.end(), {large, row % 2 == 0 ? 1.0F : -1.0F});
  }
  const auto correlation = accumulate(samples, 2).correlation();
  CHECK(correlation.constants.empty());
  CHECK(correlation.at(0, 1) == Approx(-1.0));
}

TEST_CASE("Numbers that are not finite are refused by variable and sample", "[scan]") {
  std::vector<float> samples(40 * 3, 1.0F);
  CovarianceAccumulator accumulator(3);
  accumulator.add(std::span<const float>(samples));
  samples[10 * 3 + 2] = std::numeric_limits<float>::quiet_NaN();
  CHECK(error_of([&] { accumulator.add(std::span<const float>(samples)); }) ==
        "variable 2 is nan in sample 50; correlations need finite numbers");
  samples[10 * 3 + 2] = 1.0F;
  samples[4] = -std::numeric_limits<float>::infinity();
  CHECK(error_of([&] { accumulator.add(std::span<const float>(samples)); }) ==
        "variable 1 is -inf in sample 41; correlations need finite numbers");
  CHECK(accumulator.samples() == 40);

  const std::vector<double> vast = {1e200, 0, -1e200, 1};
  CHECK(error_of([&] {
          accumulate(vast, 2).correlation();
        }).starts_with("the variance of variable 0 is beyond double precision"));
}

TEST_CASE("Samples that make no correlation are refused", "[scan]") {
  CHECK(error_of([] { CovarianceAccumulator(3).correlation(); }) == "a correlation takes at least 2 samples; found 0");
  CHECK(error_of([] {
          accumulate(std::vector<float>{1, 2, 3}, 3).correlation();
        }) == "a correlation takes at least 2 samples; found 1");
  CHECK(error_of([] {
          accumulate(std::vector<float>{1, 2, 3, 4}, 3);
        }) == "samples of 3 variables come in multiples of that; found 4 numbers");
}
