#include "kernel/report/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "colonnade/error.h"
#include "colonnade/text.h"
#include "kernel/report/markdown_text.h"
#include "kernel/report/tables.h"

namespace colonnade::host {

namespace {

constexpr double significance = 0.05;
constexpr std::size_t bootstrap_from = 6;  // seeds; below, bootstrapped intervals are too narrow
constexpr double same_mean = 1e-9;         // of a value and the mean of its examples, relatively

bool is_measured(const StudyResults& results, const std::string& metric) {
  return std::any_of(results.trials.begin(), results.trials.end(),
                     [&](const TrialResult& trial) { return trial.measured.contains(metric); });
}

double transformed(double number, bool log) {
  return log ? std::log(number) : number;
}

using BySeed = std::map<std::uint64_t, const Scalar*>;

// Of each seed where the value, transformed, is finite.
BySeed values_of(const ArmTrials& trials, const std::string& arm, const std::string& metric, bool log) {
  BySeed values;
  for (const TrialResult* trial : trials.of(arm)) {
    const Scalar* scalar = scalar_of(*trial, metric);
    if (scalar != nullptr && std::isfinite(transformed(scalar->value, log))) values[trial->seed] = scalar;
  }
  return values;
}

// Whether a value is the mean of its examples, so that differences can be taken example by example.
bool is_mean_of_examples(const Scalar& scalar) {
  if (scalar.per_example.empty()) return false;
  const double mean = summarise(scalar.per_example).mean;
  return std::abs(mean - scalar.value) <= same_mean * std::max(std::abs(mean), std::abs(scalar.value));
}

std::vector<double> example_differences(const Scalar& before, const Scalar& after) {
  if (before.per_example.size() != after.per_example.size() || !is_mean_of_examples(before) ||
      !is_mean_of_examples(after))
    return {};
  std::vector<double> differences(before.per_example.size());
  std::transform(after.per_example.begin(), after.per_example.end(), before.per_example.begin(), differences.begin(),
                 std::minus<>());
  return differences;
}

std::optional<ArmComparison> compare_arm(const ArmTrials& results, const Comparison& comparison,
                                         const std::string& arm) {
  const BySeed base = values_of(results, comparison.baseline, comparison.metric, comparison.log);
  std::vector<double> before, after;
  std::vector<std::vector<double>> differences;
  ArmComparison compared;
  compared.arm = arm;
  compared.paired_on_examples = !comparison.log;
  for (const auto& [seed, scalar] : values_of(results, arm, comparison.metric, comparison.log)) {
    const auto found = base.find(seed);
    if (found == base.end()) continue;
    before.push_back(transformed(found->second->value, comparison.log));
    after.push_back(transformed(scalar->value, comparison.log));
    differences.push_back(comparison.log ? std::vector<double>() : example_differences(*found->second, *scalar));
    if (differences.back().empty()) compared.paired_on_examples = false;
  }
  if (before.empty()) return std::nullopt;
  for (std::size_t i = 0; i < differences.size() && !compared.paired_on_examples; ++i)
    differences[i] = {after[i] - before[i]};
  compared.paired = compare_paired(before, after);
  compared.interval = compared.paired.interval;
  if (before.size() >= bootstrap_from) {
    const auto interval = bootstrap_interval(differences);
    compared.bootstrapped = interval.has_value();
    if (interval) compared.interval = interval;
  }
  compared.paired_on_examples = compared.paired_on_examples && compared.bootstrapped;
  return compared;
}

Answer answer_for(double adjusted, double attainable, std::size_t comparisons) {
  if (adjusted <= significance) return Answer::differs;
  const bool attained = std::min(1.0, attainable * static_cast<double>(comparisons)) <= significance;
  return attained ? Answer::none_shown : Answer::underpowered;
}

std::size_t seeds_needed(std::size_t comparisons) {
  std::size_t seeds = 1;
  while (2 * static_cast<double>(comparisons) / std::pow(2.0, static_cast<double>(seeds)) > significance) ++seeds;
  return seeds;
}

bool has_logarithm(const ArmTrials& results, const std::string& arm, const std::string& metric) {
  const BySeed plain = values_of(results, arm, metric, false);
  return std::any_of(plain.begin(), plain.end(), [](const auto& value) { return value.second->value > 0; });
}

// Why no arm has a seed to be paired with the baseline's.
std::string without_pairs(const std::vector<std::string>& arms, const ArmTrials& results,
                          const Comparison& comparison) {
  const std::string& baseline = comparison.baseline;
  if (values_of(results, baseline, comparison.metric, false).empty()) {
    return fmt::format("{} has no finite value of it", code_span(baseline));
  }
  if (comparison.log && !has_logarithm(results, baseline, comparison.metric)) {
    return fmt::format("no value of {} is above 0, so none has a logarithm", code_span(baseline));
  }
  bool any_value = false, any_logarithm = false;
  for (const std::string& arm : arms) {
    if (arm == baseline) continue;
    any_value = any_value || !values_of(results, arm, comparison.metric, false).empty();
    any_logarithm = any_logarithm || has_logarithm(results, arm, comparison.metric);
  }
  if (!any_value) return "no other arm has a finite value of it";
  if (comparison.log && !any_logarithm) return "no value of another arm is above 0, so none has a logarithm";
  return fmt::format("no arm shares a seed with {} in which both have {}", code_span(baseline),
                     comparison.log ? "a logarithm" : "a finite value");
}

Comparison compare_metric(const StudyResults& results, const Json& declared, const std::string& metric) {
  Comparison comparison;
  comparison.metric = metric;
  comparison.baseline = declared.at("baseline");
  comparison.log = declared.at("log");
  std::vector<double> p_values;
  const ArmTrials trials(results);
  for (const std::string& arm : results.arm_order) {
    if (arm == comparison.baseline) continue;
    auto compared = compare_arm(trials, comparison, arm);
    if (!compared) continue;
    p_values.push_back(compared->paired.sign_flip_p);
    comparison.arms.push_back(std::move(*compared));
  }
  const auto adjusted = holm(p_values);
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
    ArmComparison& arm = comparison.arms[i];
    arm.adjusted_p = adjusted[i];
    arm.answer = answer_for(adjusted[i], arm.paired.attainable_p, comparison.arms.size());
  }
  if (comparison.arms.empty()) comparison.problem = without_pairs(results.arm_order, trials, comparison);
  comparison.seeds_needed = seeds_needed(comparison.arms.size());
  return comparison;
}

// The arms that have a level of each factor, with the seeds that all of them have.
std::vector<Cell> cells_of(const StudyResults& results, const std::vector<std::string>& factors,
                           const std::string& metric, bool log) {
  std::vector<std::pair<std::map<std::string, bool>, BySeed>> found;
  std::set<std::string> seen;
  const ArmTrials trials(results);
  for (const TrialResult& trial : results.trials) {
    if (!seen.insert(trial.arm).second) continue;
    std::map<std::string, bool> levels;
    for (const std::string& factor : factors) {
      if (trial.point.contains(factor) && trial.point.at(factor).is_boolean())
        levels[factor] = trial.point.at(factor).get<bool>();
    }
    if (levels.size() == factors.size()) found.emplace_back(levels, values_of(trials, trial.arm, metric, log));
  }
  std::vector<Cell> cells;
  for (const auto& [levels, values] : found) {
    Cell cell;
    cell.levels = levels;
    for (const auto& [seed, scalar] : values) {
      const auto has_seed = [&, at = seed](const auto& other) { return other.second.contains(at); };
      if (std::all_of(found.begin(), found.end(), has_seed)) cell.by_seed.push_back(transformed(scalar->value, log));
    }
    cells.push_back(std::move(cell));
  }
  return cells;
}

std::optional<OverTheSum> over_the_sum(const std::vector<std::string>& factors, const std::vector<Cell>& cells) {
  const auto on = [](const Cell& cell) {
    return static_cast<std::size_t>(
        std::count_if(cell.levels.begin(), cell.levels.end(), [](const auto& level) { return level.second; }));
  };
  std::optional<double> none, all;
  double alone = 0;
  for (const Cell& cell : cells) {
    const double mean = summarise(cell.by_seed).mean;
    if (on(cell) == 0) none = mean;
    if (on(cell) == 1) alone += mean;
    if (on(cell) == factors.size()) all = mean;
  }
  if (!none || !all || factors.size() < 2) return std::nullopt;
  return OverTheSum{*all - *none, alone - static_cast<double>(factors.size()) * *none};
}

EffectAnalysis analyse_effects(const StudyResults& results, const Json& declared, const std::string& metric) {
  EffectAnalysis analysis;
  analysis.metric = metric;
  analysis.log = declared.at("log");
  const auto factors = declared.at("factors").get<std::vector<std::string>>();
  const auto cells = cells_of(results, factors, metric, analysis.log);
  if (cells.empty() || cells.front().by_seed.empty()) {
    analysis.problem = analysis.log ? "no seed has a value above 0 in every arm, as a logarithm needs"
                                    : "no seed has a finite value in every arm";
    return analysis;
  }
  try {
    analysis.effects = factorial_effects(factors, cells);
  } catch (const Error& error) {
    analysis.problem = error.what();
    return analysis;
  }
  analysis.over_the_sum = over_the_sum(factors, cells);
  return analysis;
}

Target reach(const StudyResults& results, const Json& declared) {
  Target target;
  target.name = declared.at("name");
  target.metric = declared.at("metric");
  target.as = declared.at("as");
  target.baseline = declared.at("baseline");
  target.note = declared.at("note");
  target.value = declared.at("value");
  target.higher = declared.at("better") == "higher";
  if (declared.contains("cap") && declared.at("cap").is_number()) target.cap = declared.at("cap").get<double>();
  const auto meets = [&](double number) { return target.higher ? number >= target.value : number <= target.value; };
  target.out_of_reach = target.cap && !meets(*target.cap);
  const std::string only = declared.at("arm");
  const bool relative = target.as != "value";
  const ArmTrials trials(results);
  const Summary base = summarise(trials.metric_by_seed(target.baseline, target.metric));
  if (relative && base.n == 0) {
    target.problem = fmt::format("its baseline {} has no {}", code_span(target.baseline), code_span(target.metric));
  } else if (relative && base.mean == 0) {
    target.problem = fmt::format("{} of its baseline {} is 0, to which nothing has a ratio", code_span(target.metric),
                                 code_span(target.baseline));
  }
  if (!target.problem.empty()) return target;
  for (const std::string& arm : results.arm_order) {
    if ((!only.empty() && arm != only) || (relative && arm == target.baseline)) continue;
    const Summary own = summarise(trials.metric_by_seed(arm, target.metric));
    if (own.n == 0) continue;
    const double ratio = own.mean / base.mean;
    const double reached = !relative ? own.mean : target.as == "ratio" ? ratio : 1 - ratio;
    target.arms.push_back({arm, reached, meets(reached)});
  }
  return target;
}

std::string level_text(const Json& level) {
  return level.is_string() ? level.get<std::string>() : json_text(level);
}

std::optional<FactorImpact> impact_of(const StudyResults& results, const std::string& factor,
                                      const std::string& metric) {
  std::map<Json, std::vector<double>> by_level;
  std::set<std::string> seen;
  const ArmTrials trials(results);
  for (const TrialResult& trial : results.trials) {
    if (!trial.point.contains(factor) || !seen.insert(trial.arm).second) continue;
    const Summary summary = summarise(trials.metric_by_seed(trial.arm, metric));
    if (summary.n > 0) by_level[trial.point.at(factor)].push_back(summary.mean);
  }
  FactorImpact impact;
  impact.factor = factor;
  impact.metric = metric;
  std::vector<std::vector<double>> groups;
  for (const auto& [level, means] : by_level) {
    impact.levels.emplace_back(level_text(level), summarise(means));
    groups.push_back(means);
  }
  const auto explained = level_impact(groups);
  if (!explained) return std::nullopt;
  impact.impact = *explained;
  return impact;
}

std::set<std::string> free_factors(const StudyResults& results) {
  std::set<std::string> factors;
  for (const TrialResult& trial : results.trials) {
    for (const auto& [name, level] : trial.point.items()) factors.insert(name);
  }
  for (const Json& declared : declarations(results, "effects")) {
    for (const Json& factor : declared.at("factors")) factors.erase(factor.get<std::string>());
  }
  return factors;
}

}  // namespace

const Json& declarations(const StudyResults& results, const std::string& kind) {
  static const Json none = Json::array();
  return results.report.is_object() && results.report.contains(kind) ? results.report.at(kind) : none;
}

std::vector<Comparison> comparisons_of(const StudyResults& results, bool measured) {
  std::vector<Comparison> comparisons;
  for (const Json& declared : declarations(results, "comparisons")) {
    for (const Json& metric : declared.at("metric")) {
      if (is_measured(results, metric) == measured) comparisons.push_back(compare_metric(results, declared, metric));
    }
  }
  return comparisons;
}

std::vector<EffectAnalysis> effects_of(const StudyResults& results, bool measured) {
  std::vector<EffectAnalysis> analyses;
  for (const Json& declared : declarations(results, "effects")) {
    for (const Json& metric : declared.at("metric")) {
      if (is_measured(results, metric) == measured) analyses.push_back(analyse_effects(results, declared, metric));
    }
  }
  return analyses;
}

std::vector<Target> targets_of(const StudyResults& results, bool measured) {
  std::vector<Target> targets;
  for (const Json& declared : declarations(results, "targets")) {
    if (is_measured(results, declared.at("metric")) == measured) targets.push_back(reach(results, declared));
  }
  return targets;
}

std::vector<FactorImpact> factor_impacts(const StudyResults& results, bool measured) {
  std::vector<FactorImpact> all;
  const auto factors = free_factors(results);
  for (const std::string& metric : scalar_metrics(results, measured)) {
    if (better_of(results, metric) == Better::neither) continue;
    std::vector<FactorImpact> own;
    std::vector<double> p_values;
    for (const std::string& factor : factors) {
      auto impact = impact_of(results, factor, metric);
      if (!impact) continue;
      p_values.push_back(impact->impact.p);
      own.push_back(std::move(*impact));
    }
    const auto adjusted = holm(p_values);
    for (std::size_t i = 0; i < own.size(); ++i) {
      own[i].adjusted_p = adjusted[i];
      own[i].answer = answer_for(adjusted[i], own[i].impact.attainable_p, own.size());
      all.push_back(std::move(own[i]));
    }
  }
  return all;
}

}  // namespace colonnade::host
