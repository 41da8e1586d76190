#include <algorithm>
#include <cmath>
#include <set>

#include "kernel/report/analysis.h"
#include "kernel/report/tables.h"

namespace colonnade::host {

namespace {

constexpr double normal_quantile = 1.959963984540054;  // of 0.975
constexpr double rounding = 1e-6;                      // relatively, between sums in another order

// The standard error of a difference of two scalars. Of examples that both were computed over, the part of the errors
// that goes along is taken off; the two standard errors need not be those of plain means for that.
std::optional<double> error_of_difference(const Scalar& before, const Scalar& after, bool& paired) {
  if (!before.standard_error || !after.standard_error) return std::nullopt;
  const auto &left = before.per_example, &right = after.per_example;
  const double one = *before.standard_error, other = *after.standard_error;
  paired = left.size() == right.size() && left.size() > 1;
  double correlation = 0;
  if (paired) {
    const double left_mean = summarise(left).mean, right_mean = summarise(right).mean;
    double both = 0, left_squares = 0, right_squares = 0;
    for (std::size_t i = 0; i < left.size(); ++i) {
      both += (left[i] - left_mean) * (right[i] - right_mean);
      left_squares += (left[i] - left_mean) * (left[i] - left_mean);
      right_squares += (right[i] - right_mean) * (right[i] - right_mean);
    }
    if (left_squares > 0 && right_squares > 0) correlation = both / std::sqrt(left_squares * right_squares);
  }
  return std::sqrt(std::max(0.0, one * one + other * other - 2 * correlation * one * other));
}

bool has_error(const StudyResults& results, const std::string& metric) {
  return std::any_of(results.trials.begin(), results.trials.end(), [&](const TrialResult& trial) {
    const Scalar* scalar = scalar_of(trial, metric);
    return scalar != nullptr && scalar->standard_error;
  });
}

bool is_zero(const Summary& summary) {
  return summary.mean == 0 && summary.deviation == 0;
}

using BySeed = std::map<std::uint64_t, const Scalar*>;

BySeed finite_values(const StudyResults& results, const std::string& arm, const std::string& metric) {
  BySeed values;
  for (const TrialResult& trial : results.trials) {
    const Scalar* scalar = trial.arm == arm ? scalar_of(trial, metric) : nullptr;
    if (scalar != nullptr && std::isfinite(scalar->value)) values[trial.seed] = scalar;
  }
  return values;
}

// How many seeds' best value is this arm's.
void count_wins(const StudyResults& results, BestArm& best) {
  std::map<std::uint64_t, std::pair<double, std::string>> winners;
  std::set<std::uint64_t> own;
  for (const std::string& arm : results.arm_order) {
    for (const auto& [seed, scalar] : finite_values(results, arm, best.metric)) {
      const double number = best.lower ? scalar->value : -scalar->value;
      const auto [place, is_new] = winners.emplace(seed, std::pair(number, arm));
      if (!is_new && number < place->second.first) place->second = {number, arm};
      if (arm == best.arms.front()) own.insert(seed);
    }
  }
  best.seeds = own.size();
  for (const std::uint64_t seed : own) best.seeds_won += winners.at(seed).second == best.arms.front();
}

}  // namespace

Distance distance_between(const StudyResults& results, const std::string& metric, const std::string& before,
                          const std::string& after) {
  const BySeed first = finite_values(results, before, metric);
  std::vector<double> from, to;
  double variance = 0;
  bool errors = true, paired = true;
  for (const auto& [seed, scalar] : finite_values(results, after, metric)) {
    const auto found = first.find(seed);
    if (found == first.end()) continue;
    from.push_back(found->second->value);
    to.push_back(scalar->value);
    bool on_examples = false;
    const auto error = error_of_difference(*found->second, *scalar, on_examples);
    errors = errors && error;
    paired = paired && on_examples;
    if (error) variance += *error * *error;
  }
  Distance distance;
  if (from.empty()) return distance;
  const PairedComparison compared = compare_paired(from, to);
  distance.difference = compared.mean_difference;
  const double half_width = compared.interval ? (compared.interval->high - compared.interval->low) / 2 : 0;
  if (half_width > 0) {
    distance.uncertainty = half_width;
    distance.from = UncertaintyOf::seeds;
  } else if (errors) {
    // Seeds that change nothing are one sample of examples, not several.
    distance.uncertainty = normal_quantile * std::sqrt(variance / static_cast<double>(from.size()));
    distance.from = paired ? UncertaintyOf::paired_examples : UncertaintyOf::standard_errors;
  }
  return distance;
}

std::vector<BestArm> best_arms(const StudyResults& results, bool measured) {
  std::vector<BestArm> all;
  const ArmTrials trials(results);
  for (const std::string& metric : scalar_metrics(results, measured)) {
    const Better better = better_of(results, metric);
    if (better == Better::neither) continue;
    BestArm best;
    best.metric = metric;
    best.lower = better == Better::lower;
    std::vector<std::pair<Summary, std::string>> arms;
    for (const std::string& arm : results.arm_order) {
      const Summary summary = summarise(trials.metric_by_seed(arm, metric));
      if (summary.n > 0) arms.emplace_back(summary, arm);
    }
    std::stable_sort(arms.begin(), arms.end(), [&](const auto& a, const auto& b) {
      return best.lower ? a.first.mean < b.first.mean : a.first.mean > b.first.mean;
    });
    const double alike = has_error(results, metric) ? rounding : 0;
    const auto other = std::find_if(arms.begin(), arms.end(), [&](const auto& arm) {
      return std::abs(arm.first.mean - arms.front().first.mean) > alike * std::abs(arms.front().first.mean);
    });
    if (other == arms.end()) continue;
    if (alike == 0 && (is_zero(arms.front().first) || is_zero(other->first))) continue;
    for (auto arm = arms.begin(); arm != other; ++arm) best.arms.push_back(arm->second);
    best.best = arms.front().first;
    best.second = other->second;
    best.runner_up = other->first;
    best.lead = distance_between(results, metric, best.arms.front(), best.second);
    count_wins(results, best);
    all.push_back(std::move(best));
  }
  return all;
}

}  // namespace colonnade::host
