#include "kernel/report/statistics.h"

#include <algorithm>
#include <bit>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <numeric>

#include "colonnade/error.h"
#include "colonnade/random.h"

namespace colonnade::host {

namespace {

constexpr std::size_t enumerated_pairs = 20;
constexpr std::uint64_t drawn_patterns = 100'000;
constexpr std::size_t signs_in_a_draw = 64;
constexpr std::uint64_t pattern_key = 20, bootstrap_key = 21, permutation_key = 22;
constexpr std::size_t drawn_examples = 200;  // more are resampled by their normal limit
constexpr std::uint64_t most_permutations = 20'000, fewest_permutations = 1'000, most_moves = 4'000'000;
constexpr double tie_tolerance = 1e-12;  // of the observed sum: rounding must not decide a tie

double mean_of(const std::vector<double>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(numbers.size());
}

double deviation_of(const std::vector<double>& numbers, double mean) {
  double squares = 0;
  for (const double number : numbers) squares += (number - mean) * (number - mean);
  return std::sqrt(squares / static_cast<double>(numbers.size() - 1));
}

// The numbers of one draw, from `first` on, with signs by its bits.
double signed_sum(const std::vector<double>& numbers, std::size_t first, std::uint64_t pattern) {
  double sum = 0;
  for (std::size_t i = first; i < std::min(first + signs_in_a_draw, numbers.size()); ++i, pattern >>= 1)
    sum += (pattern & 1) != 0 ? numbers[i] : -numbers[i];
  return sum;
}

// How many of all signs of the differences from `first` on bring the sum as far from zero as `bound`. Patterns share
// the sums of what they have in common, so that each costs one addition.
std::uint64_t patterns_as_far(const std::vector<double>& differences, std::size_t first, double sum, double bound) {
  if (first == differences.size()) return std::abs(sum) >= bound ? 1 : 0;
  return patterns_as_far(differences, first + 1, sum + differences[first], bound) +
         patterns_as_far(differences, first + 1, sum - differences[first], bound);
}

double sign_flip_p(const std::vector<double>& differences) {
  const double observed = std::abs(std::accumulate(differences.begin(), differences.end(), 0.0));
  const double bound = observed * (1 - tie_tolerance);
  if (differences.size() <= enumerated_pairs) {
    const std::uint64_t patterns = std::uint64_t{1} << differences.size();
    return static_cast<double>(patterns_as_far(differences, 0, 0, bound)) / static_cast<double>(patterns);
  }
  std::vector<RandomStream> draws;
  for (std::size_t first = 0; first < differences.size(); first += signs_in_a_draw)
    draws.push_back(RandomStream(pattern_key).at(first));
  std::uint64_t as_far = 0;
  for (std::uint64_t i = 0; i < drawn_patterns; ++i) {
    double sum = 0;
    for (std::size_t part = 0; part < draws.size(); ++part)
      sum += signed_sum(differences, part * signs_in_a_draw, draws[part].bits(i));
    as_far += std::abs(sum) >= bound;
  }
  return (static_cast<double>(as_far) + 1) / (static_cast<double>(drawn_patterns) + 1);
}

// The differences' ranks by size, with their signs: what Wilcoxon's test permutes.
std::vector<double> signed_ranks(std::vector<double> differences) {
  std::erase(differences, 0.0);
  std::sort(differences.begin(), differences.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
  std::vector<double> ranks(differences.size());
  for (std::size_t first = 0; first < differences.size();) {
    std::size_t last = first;
    while (last + 1 < differences.size() && std::abs(differences[last + 1]) == std::abs(differences[first])) ++last;
    const double rank = (static_cast<double>(first + last) + 2) / 2;
    for (std::size_t i = first; i <= last; ++i) ranks[i] = std::copysign(rank, differences[i]);
    first = last + 1;
  }
  return ranks;
}

double mean_of_means(const std::vector<std::vector<double>>& lists, std::size_t left_out) {
  double sum = 0;
  for (std::size_t i = 0; i < lists.size(); ++i) sum += i == left_out ? 0 : mean_of(lists[i]);
  return sum / static_cast<double>(lists.size() - (left_out < lists.size() ? 1 : 0));
}

// The mean of examples drawn with replacement. Of many, a normal number with the mean and variance that such means
// have.
double resampled_mean(const std::vector<double>& examples, const RandomStream& draws, std::uint64_t& drawn) {
  if (examples.size() == 1) return examples[0];
  const auto count = static_cast<double>(examples.size());
  if (examples.size() > drawn_examples) {
    const double mean = mean_of(examples);
    return mean +
           deviation_of(examples, mean) * std::sqrt((count - 1) / count) / std::sqrt(count) * draws.normal(drawn++);
  }
  double sum = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) sum += examples[draws.below(drawn++, examples.size())];
  return sum / count;
}

// Jackknife over seeds: how skewed the mean's distribution is.
double acceleration_of(const std::vector<std::vector<double>>& differences) {
  std::vector<double> means;
  for (std::size_t i = 0; i < differences.size(); ++i) means.push_back(mean_of_means(differences, i));
  const double centre = mean_of(means);
  double squares = 0, cubes = 0;
  for (const double mean : means) {
    squares += std::pow(centre - mean, 2);
    cubes += std::pow(centre - mean, 3);
  }
  return squares == 0 ? 0 : cubes / (6 * std::pow(squares, 1.5));
}

// The quantile by linear interpolation between order statistics.
double quantile_of(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= sorted.size()) return sorted.back();
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[below + 1] - sorted[below]);
}

double explained_share(const std::vector<double>& numbers, const std::vector<std::size_t>& sizes, double mean,
                       double total) {
  double between = 0;
  std::size_t first = 0;
  for (const std::size_t size : sizes) {
    const double sum = std::accumulate(numbers.begin() + static_cast<std::ptrdiff_t>(first),
                                       numbers.begin() + static_cast<std::ptrdiff_t>(first + size), 0.0);
    const double count = static_cast<double>(size);
    between += count * std::pow(sum / count - mean, 2);
    first += size;
  }
  return between / total;
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
  result.wilcoxon_p = sign_flip_p(signed_ranks(differences));
  const double least_drawn = summary.n > enumerated_pairs ? 1 / (static_cast<double>(drawn_patterns) + 1) : 0;
  result.attainable_p = std::clamp(2 / std::pow(2.0, static_cast<double>(summary.n)), least_drawn, 1.0);
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

std::optional<Interval> bootstrap_interval(const std::vector<std::vector<double>>& differences, double confidence,
                                           std::size_t resamples) {
  const std::size_t seeds = differences.size();
  if (seeds < 2) return std::nullopt;
  const double observed = mean_of_means(differences, seeds);
  const RandomStream draws(bootstrap_key);
  std::vector<double> means(resamples);
  for (std::size_t i = 0; i < resamples; ++i) {
    const RandomStream own = draws.at(i);
    double sum = 0;
    std::uint64_t drawn = 0;
    for (std::size_t j = 0; j < seeds; ++j) {
      sum += resampled_mean(differences[own.below(drawn++, seeds)], own, drawn);
    }
    means[i] = sum / static_cast<double>(seeds);
  }
  std::sort(means.begin(), means.end());
  if (means.front() == means.back()) return std::nullopt;
  const boost::math::normal normal;
  // Resamples equal to the mean count half, and the share stays inside (0, 1), where the normal quantile is finite.
  const auto below = static_cast<double>(std::lower_bound(means.begin(), means.end(), observed) - means.begin());
  const auto at_most = static_cast<double>(std::upper_bound(means.begin(), means.end(), observed) - means.begin());
  const double count = static_cast<double>(resamples);
  const double share = std::clamp((below + at_most) / (2 * count), 0.5 / count, 1 - 0.5 / count);
  const double bias = boost::math::quantile(normal, share), acceleration = acceleration_of(differences);
  const auto bound = [&](double level) {
    const double z = bias + boost::math::quantile(normal, level);
    return quantile_of(means, boost::math::cdf(normal, bias + z / (1 - acceleration * z)));
  };
  return Interval{bound((1 - confidence) / 2), bound((1 + confidence) / 2)};
}

std::optional<LevelImpact> level_impact(const std::vector<std::vector<double>>& by_level) {
  std::vector<double> numbers;
  std::vector<std::size_t> sizes;
  for (const auto& level : by_level) {
    numbers.insert(numbers.end(), level.begin(), level.end());
    sizes.push_back(level.size());
  }
  if (by_level.size() < 2 || numbers.size() <= by_level.size()) return std::nullopt;
  const double mean = mean_of(numbers);
  double total = 0;
  for (const double number : numbers) total += (number - mean) * (number - mean);
  if (total == 0) return std::nullopt;
  LevelImpact impact;
  impact.explained = explained_share(numbers, sizes, mean, total);
  const RandomStream draws(permutation_key);
  const std::uint64_t drawn_permutations =
      std::clamp(most_moves / numbers.size(), fewest_permutations, most_permutations);
  std::vector<double> shares(drawn_permutations);
  for (std::uint64_t i = 0; i < drawn_permutations; ++i) {
    const RandomStream own = draws.at(i);
    std::vector<double> shuffled = numbers;
    for (std::size_t j = shuffled.size() - 1; j > 0; --j) std::swap(shuffled[j], shuffled[own.below(j, j + 1)]);
    shares[i] = explained_share(shuffled, sizes, mean, total);
  }
  const auto p_of = [&](double share) {
    const auto as_far =
        std::count_if(shares.begin(), shares.end(), [&](double each) { return each >= share * (1 - tie_tolerance); });
    return (static_cast<double>(as_far) + 1) / (static_cast<double>(drawn_permutations) + 1);
  };
  impact.p = p_of(impact.explained);
  impact.attainable_p = p_of(std::max(impact.explained, *std::max_element(shares.begin(), shares.end())));
  return impact;
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
    for (std::size_t i = 0; i < factors.size(); ++i)
      levels |= static_cast<std::uint64_t>(cell.levels.at(factors[i])) << i;
    if (!by_levels.emplace(levels, &cell).second)
      throw Error(ErrorKind::usage, "two arms have the same levels of all factors");
  }
  const std::uint64_t combinations = std::uint64_t{1} << factors.size();
  if (by_levels.size() != combinations) {
    throw Error(ErrorKind::usage, "factorial effects need all " + std::to_string(combinations) +
                                      " combinations of levels; there are " + std::to_string(by_levels.size()));
  }
  const std::size_t seeds = by_levels.begin()->second->by_seed.size();
  for (const auto& [levels, cell] : by_levels) {
    if (cell->by_seed.size() != seeds)
      throw Error(ErrorKind::usage, "factorial effects need the same seeds in every arm");
  }
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
