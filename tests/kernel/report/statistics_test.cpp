// Held against tests/oracles/statistics.json, which SciPy and statsmodels made.

#include "kernel/report/statistics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

#include "colonnade/error.h"
#include "colonnade/json.h"

namespace colonnade::host {

namespace {

using Numbers = std::vector<double>;

const Json& oracle() {
  static const Json document = Json::parse(std::ifstream(COLONNADE_TEST_SOURCE_DIR "/tests/oracles/statistics.json"));
  return document;
}

auto near(double value) {
  return Approx(value).epsilon(1e-9).margin(1e-12);
}

void check_interval(const std::optional<Interval>& interval, const Json& expected) {
  REQUIRE(interval.has_value());
  CHECK(interval->low == near(expected.at(0)));
  CHECK(interval->high == near(expected.at(1)));
}

}  // namespace

TEST_CASE("Means have t intervals from two numbers on", "[report]") {
  for (const Json& sample : oracle().at("samples")) {
    const Summary summary = summarise(sample.at("numbers").get<Numbers>());
    CHECK(summary.mean == near(sample.at("mean")));
    CHECK(summary.deviation == near(sample.at("deviation")));
    check_interval(summary.interval, sample.at("interval"));
  }
  CHECK_FALSE(summarise({3.5}).interval.has_value());
  CHECK(summarise({3.5}).mean == 3.5);
  CHECK(std::isnan(summarise({}).mean));
}

TEST_CASE("Paired comparisons agree with SciPy's", "[report]") {
  for (const Json& expected : oracle().at("comparisons")) {
    const Numbers before = expected.at("before"), after = expected.at("after");
    INFO(expected.dump());
    const PairedComparison compared = compare_paired(before, after);
    CHECK(compared.n == before.size());
    CHECK(compared.mean_difference == near(expected.at("mean")));
    CHECK(compared.sign_flip_p == near(expected.at("sign_flip_p")));
    CHECK(compared.wilcoxon_p == near(expected.at("wilcoxon_p")));
    CHECK(compared.cliffs_delta == near(expected.at("cliffs_delta")));
    CHECK(compared.attainable_p == near(std::min(1.0, std::pow(2.0, 1.0 - static_cast<double>(before.size())))));
    REQUIRE(compared.t_p.has_value() == expected.contains("t_p"));
    if (compared.t_p) CHECK(*compared.t_p == near(expected.at("t_p")));
    if (expected.contains("interval")) check_interval(compared.interval, expected.at("interval"));
    REQUIRE(compared.effect.has_value() == expected.contains("hedges"));
    if (compared.effect) CHECK(*compared.effect == near(expected.at("hedges")));
  }
  CHECK_THROWS_AS(compare_paired({1, 2}, {1}), Error);
  CHECK_THROWS_AS(compare_paired({}, {}), Error);
}

TEST_CASE("More pairs than can be enumerated are sampled near the exact value", "[report]") {
  Numbers before(24, 0.0), after;
  for (int i = 0; i < 24; ++i) after.push_back(i % 3 == 0 ? -1.0 : 1.0);
  // 16 of 24 coins alike, two-sided.
  double exact = 0;
  for (int heads = 16; heads <= 24; ++heads) {
    exact += 2 * std::exp(std::lgamma(25) - std::lgamma(heads + 1) - std::lgamma(25 - heads) - 24 * std::log(2.0));
  }
  CHECK(compare_paired(before, after).sign_flip_p == Approx(exact).epsilon(0.01));
}

TEST_CASE("Holm's adjustment agrees with statsmodels'", "[report]") {
  const auto adjusted = holm(oracle().at("holm").at("p").get<Numbers>());
  const Numbers expected = oracle().at("holm").at("adjusted");
  REQUIRE(adjusted.size() == expected.size());
  for (std::size_t i = 0; i < adjusted.size(); ++i) CHECK(adjusted[i] == near(expected[i]));
  CHECK(holm({}).empty());
}

TEST_CASE("Factorial effects are twice the coefficients of a regression on signs", "[report]") {
  const Json& expected = oracle().at("factorial");
  const auto factors = expected.at("factors").get<std::vector<std::string>>();
  std::vector<Cell> cells;
  for (const Json& cell : expected.at("cells"))
    cells.push_back({cell.at("levels").get<std::map<std::string, bool>>(), cell.at("by_seed").get<Numbers>()});
  const auto effects = factorial_effects(factors, cells);
  REQUIRE(effects.size() == 7);
  CHECK(effects.front().name == "a");
  CHECK(effects.back().name == "a × b × c");
  for (const Effect& effect : effects) {
    INFO(effect.name);
    CHECK(effect.size.mean == near(expected.at("effects").at(effect.name).at("mean")));
    check_interval(effect.size.interval, expected.at("effects").at(effect.name).at("interval"));
  }
  auto incomplete = cells;
  incomplete.pop_back();
  CHECK_THROWS_AS(factorial_effects(factors, incomplete), Error);
  auto twice = cells;
  twice.back() = twice.front();
  CHECK_THROWS_AS(factorial_effects(factors, twice), Error);
  auto fewer_seeds = cells;
  fewer_seeds.back().by_seed.pop_back();
  CHECK_THROWS_AS(factorial_effects(factors, fewer_seeds), Error);
}

TEST_CASE("The bootstrap's interval approaches SciPy's", "[report]") {
  for (const Json& expected : oracle().at("bootstrap")) {
    std::vector<Numbers> seeds;
    for (const double number : expected.at("numbers")) seeds.push_back({number});
    const auto interval = bootstrap_interval(seeds, 0.95, 100'000);
    REQUIRE(interval.has_value());
    const double width = expected.at("interval").at(1).get<double>() - expected.at("interval").at(0).get<double>();
    CHECK(std::abs(interval->low - expected.at("interval").at(0).get<double>()) < 0.02 * width);
    CHECK(std::abs(interval->high - expected.at("interval").at(1).get<double>()) < 0.02 * width);
  }
  CHECK_FALSE(bootstrap_interval({{1.0}}).has_value());
  CHECK_FALSE(bootstrap_interval({{1.0}, {1.0}, {1.0}}).has_value());
}

TEST_CASE("With many pairs no p is below what the drawn patterns can show", "[report]") {
  const Numbers before(24, 0.0), after(24, 1.0);
  const PairedComparison compared = compare_paired(before, after);
  CHECK(compared.sign_flip_p < 1e-4);
  CHECK(compared.attainable_p == compared.sign_flip_p);
  // Twenty pairs are counted whole: only all plus and all minus are as far.
  const Numbers none(20, 0.0), one(20, 1.0);
  CHECK(compare_paired(none, one).sign_flip_p == std::pow(2.0, -19));
}

TEST_CASE("Spread between a seed's examples widens the bootstrap's interval, whichever way they are drawn",
          "[report]") {
  const auto width_with = [](std::size_t examples, double spread) {
    std::vector<Numbers> seeds;
    for (int seed = 0; seed < 8; ++seed) {
      Numbers own;
      for (std::size_t i = 0; i < examples; ++i) own.push_back(0.1 * seed + (i % 2 == 0 ? spread : -spread));
      seeds.push_back(own);
    }
    const auto interval = bootstrap_interval(seeds, 0.95, 20'000);
    REQUIRE(interval.has_value());
    return interval->high - interval->low;
  };
  CHECK(width_with(100, 5) > 2 * width_with(100, 0));
  // 200 examples are drawn one by one, 202 by the normal limit; the variance of a mean of either is nearly the same.
  CHECK(width_with(200, 5) == Approx(width_with(202, 5)).epsilon(0.04));
}

TEST_CASE("A factor's share of variance is tested by permutation", "[report]") {
  for (const Json& expected : oracle().at("groups")) {
    const auto impact = level_impact(expected.at("groups").get<std::vector<Numbers>>());
    REQUIRE(impact.has_value());
    CHECK(impact->explained == near(expected.at("explained")));
    CHECK(impact->p == Approx(expected.at("p").get<double>()).margin(0.015));
    CHECK(impact->attainable_p <= impact->p);
  }
  // Two and two arms can be parted in six ways, two of which part them as well as they can be.
  CHECK(level_impact({{0, 0.1}, {1, 1.1}})->attainable_p == Approx(1.0 / 3).margin(0.02));
  CHECK_FALSE(level_impact({{1, 2, 3}}).has_value());
  CHECK_FALSE(level_impact({{1}, {2}, {3}}).has_value());
  CHECK_FALSE(level_impact({{2, 2}, {2}}).has_value());
}

}  // namespace colonnade::host
