#include "kernel/report/statistics.h"

#include <algorithm>
#include <bit>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <numeric>

#include "colonnade/error.h"
#include "colonnade/random.h"

namespace colonnade::host {

namespace {

constexpr std::size_t enumerated_pairs = 20;
constexpr std::uint64_t drawn_patterns = 1'000'000;
constexpr std::uint64_t pattern_key = 20;
constexpr double tie_tolerance = 1e-12;  // of the observed sum: rounding must not decide a tie

double mean_of(const std::vector<double>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(numbers.size());
}

double deviation_of(const std::vector<double>& numbers, double mean) {
  double squares = 0;
  for (const double number : numbers) squares += (number - mean) * (number - mean);
  return std::sqrt(squares / static_cast<double>(numbers.size() - 1));
}

double signed_sum(const std::vector<double>& numbers, std::uint64_t pattern) {
  double sum = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) sum += (pattern >> i & 1) != 0 ? numbers[i] : -numbers[i];
  return sum;
}

double sign_flip_p(const std::vector<double>& differences) {
  const double observed = std::abs(std::accumulate(differences.begin(), differences.end(), 0.0));
  const double bound = observed * (1 - tie_tolerance);
  const bool exact = differences.size() <= enumerated_pairs;
  const std::uint64_t patterns = exact ? std::uint64_t{1} << differences.size() : drawn_patterns;
  const RandomStream draws(pattern_key);
  std::uint64_t as_far = 0;
  for (std::uint64_t i = 0; i < patterns; ++i) {
    double sum = 0;
    if (exact) {
      sum = signed_sum(differences, i);
    } else {
      for (std::size_t first = 0; first < differences.size(); first += 64) {
        const std::vector<double> part(differences.begin() + static_cast<std::ptrdiff_t>(first),
                                       differences.begin() + static_cast<std::ptrdiff_t>(std::min(first + 64, differences.size())));
        sum += signed_sum(part, draws.at(first).bits(i));
      }
    }
    as_far += std::abs(sum) >= bound;
  }
  if (exact) return static_cast<double>(as_far) / static_cast<double>(patterns);
  return (static_cast<double>(as_far) + 1) / (static_cast<double>(patterns) + 1);
}

double cliffs_delta(const std::vector<double>& before, const std::vector<double>& after) {
  std::int64_t more = 0;
  for (const double a : after) {
    for (const double b : before) more += (a > b) - (a < b);
  }
  return static_cast<double>(more) / static_cast<double>(before.size() * after.size());
}

}  // namespace

Summary summarise(const std::vector<double>& numbers, double confidence) {
  Summary summary;
  summary.n = numbers.size();
  if (numbers.empty()) {
    summary.mean = std::nan("");
    return summary;
  }
  summary.mean = mean_of(numbers);
  if (numbers.size() < 2) return summary;
  summary.deviation = deviation_of(numbers, summary.mean);
  const boost::math::students_t distribution(static_cast<double>(numbers.size() - 1));
  const double half = boost::math::quantile(distribution, (1 + confidence) / 2) * summary.deviation /
                      std::sqrt(static_cast<double>(numbers.size()));
  summary.interval = Interval{summary.mean - half, summary.mean + half};
  return summary;
}

PairedComparison compare_paired(const std::vector<double>& before, const std::vector<double>& after) {
  if (before.size() != after.size() || before.empty()) {
    throw Error(ErrorKind::usage, "a paired comparison needs the same seeds on both sides, and at least one");
  }
  std::vector<double> differences(before.size());
  std::transform(after.begin(), after.end(), before.begin(), differences.begin(), std::minus<>());
  PairedComparison result;
  const Summary summary = summarise(differences);
  result.n = summary.n;
  result.mean_difference = summary.mean;
  result.interval = summary.interval;
  result.sign_flip_p = sign_flip_p(differences);
  result.attainable_p = std::min(1.0, 2 / std::pow(2.0, static_cast<double>(summary.n)));
  result.cliffs_delta = cliffs_delta(before, after);
  if (summary.n < 2 || summary.deviation == 0) return result;
  const auto n = static_cast<double>(summary.n);
  const double t = summary.mean / (summary.deviation / std::sqrt(n));
  const boost::math::students_t distribution(n - 1);
  result.t_p = 2 * boost::math::cdf(boost::math::complement(distribution, std::abs(t)));
  if (summary.n < 3) return result;  // the correction is zero for two pairs: no effect size can be stated
  // Hedges' correction, exact: gamma(m/2) / (sqrt(m/2) gamma((m-1)/2)), m degrees of freedom.
  const double m = n - 1;
  const double correction = boost::math::tgamma_ratio(m / 2, (m - 1) / 2) / std::sqrt(m / 2);
  result.effect = correction * summary.mean / summary.deviation;
  return result;
}

std::vector<double> holm(const std::vector<double>& p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  double running = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const double p = static_cast<double>(order.size() - rank) * p_values[order[rank]];
    running = std::max(running, std::min(1.0, p));
    adjusted[order[rank]] = running;
  }
  return adjusted;
}

std::vector<Effect> factorial_effects(const std::vector<std::string>& factors, const std::vector<Cell>& cells) {
  std::map<std::uint64_t, const Cell*> by_levels;
  for (const Cell& cell : cells) {
    std::uint64_t levels = 0;
    for (std::size_t i = 0; i < factors.size(); ++i) levels |= static_cast<std::uint64_t>(cell.levels.at(factors[i])) << i;
    if (!by_levels.emplace(levels, &cell).second) throw Error(ErrorKind::usage, "two arms have the same levels of all factors");
  }
  const std::uint64_t combinations = std::uint64_t{1} << factors.size();
  if (by_levels.size() != combinations) {
    throw Error(ErrorKind::usage, "factorial effects need all " + std::to_string(combinations) + " combinations of levels; there are " +
                                      std::to_string(by_levels.size()));
  }
  const std::size_t seeds = by_levels.begin()->second->by_seed.size();
  std::vector<std::uint64_t> subsets;
  for (std::uint64_t subset = 1; subset < combinations; ++subset) subsets.push_back(subset);
  std::stable_sort(subsets.begin(), subsets.end(), [](auto a, auto b) { return std::popcount(a) < std::popcount(b); });
  std::vector<Effect> effects;
  for (const std::uint64_t subset : subsets) {
    Effect effect;
    for (std::size_t i = 0; i < factors.size(); ++i) {
      if ((subset >> i & 1) == 0) continue;
      effect.name += (effect.name.empty() ? "" : " × ") + factors[i];
      effect.factors.push_back(factors[i]);
    }
    std::vector<double> by_seed(seeds, 0);
    for (const auto& [levels, cell] : by_levels) {
      // The sign is the product of the levels (-1 low, +1 high) of the subset's factors.
      const int low = std::popcount(subset & ~levels);
      const double sign = low % 2 == 0 ? 1 : -1;
      for (std::size_t seed = 0; seed < seeds; ++seed) {
        by_seed[seed] += sign * cell->by_seed.at(seed) * 2 / static_cast<double>(combinations);
      }
    }
    effect.size = summarise(by_seed);
    effects.push_back(std::move(effect));
  }
  return effects;
}

}  // namespace colonnade::host
