#include "kernel/report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "colonnade/error.h"
#include "kernel/report/numbers.h"
#include "kernel/report/statistics.h"
#include "kernel/report/tables.h"

namespace colonnade::host {

namespace {

constexpr double significance = 0.05;

struct PairedNumbers {
  std::vector<double> before, after;
};

std::optional<double> number_of(const TrialResult& trial, const std::string& metric) {
  for (const auto* scalars : {&trial.scalars, &trial.measured}) {
    const auto found = scalars->find(metric);
    if (found != scalars->end()) return found->second.value;
  }
  return std::nullopt;
}

Better better_of(const StudyResults& results, const std::string& metric) {
  for (const TrialResult& trial : results.trials) {
    const auto found = trial.scalars.find(metric);
    if (found != trial.scalars.end()) return found->second.better;
  }
  return Better::neither;
}

bool is_measured(const StudyResults& results, const std::string& metric) {
  return std::any_of(results.trials.begin(), results.trials.end(), [&](const auto& trial) { return trial.measured.contains(metric); });
}

double transformed(double number, bool log) { return log ? std::log(number) : number; }

// Numbers of the seeds that both arms have.
PairedNumbers paired(const StudyResults& results, const std::string& baseline, const std::string& arm, const std::string& metric, bool log) {
  std::map<std::uint64_t, double> base;
  for (const TrialResult& trial : results.trials) {
    const auto number = number_of(trial, metric);
    if (trial.arm == baseline && number) base[trial.seed] = transformed(*number, log);
  }
  PairedNumbers numbers;
  for (const TrialResult& trial : results.trials) {
    const auto number = number_of(trial, metric);
    if (trial.arm != arm || !number || !base.contains(trial.seed)) continue;
    numbers.before.push_back(base.at(trial.seed));
    numbers.after.push_back(transformed(*number, log));
  }
  return numbers;
}

std::string interval_text(const std::optional<Interval>& interval) {
  if (!interval) return "one seed: none";
  return "[" + readable_number(interval->low, 3) + ", " + readable_number(interval->high, 3) + "]";
}

struct ComparedArm {
  std::string arm;
  PairedComparison comparison;
};

std::vector<ComparedArm> compare_arms(const StudyResults& results, const std::string& baseline, const std::string& metric, bool log) {
  std::vector<ComparedArm> compared;
  for (const std::string& arm : results.arm_order) {
    if (arm == baseline) continue;
    const PairedNumbers numbers = paired(results, baseline, arm, metric, log);
    if (numbers.before.empty()) continue;
    compared.push_back({arm, compare_paired(numbers.before, numbers.after)});
  }
  return compared;
}

std::string verdict(double adjusted, double attainable, std::size_t comparisons) {
  if (adjusted <= significance) return "differs";
  if (std::min(1.0, attainable * static_cast<double>(comparisons)) > significance) return "underpowered";
  return "no difference shown";
}

std::string comparison_table(const StudyResults& results, const Json& declared, const std::string& metric) {
  const std::string baseline = declared.at("baseline");
  const bool log = declared.at("log");
  const auto compared = compare_arms(results, baseline, metric, log);
  if (compared.empty()) return "";
  std::vector<double> p_values;
  for (const ComparedArm& each : compared) p_values.push_back(each.comparison.sign_flip_p);
  const auto adjusted = holm(p_values);
  TextTable table{{"arm", "difference", "95 % interval (t)", "d_z (Hedges)", "Cliff's delta", "p (sign flips)", "p (Holm)",
                   "least attainable p", "p (paired t, assumes normality)", "answer"},
                  {}};
  for (std::size_t i = 0; i < compared.size(); ++i) {
    const PairedComparison& c = compared[i].comparison;
    table.rows.push_back({compared[i].arm, readable_number(c.mean_difference), interval_text(c.interval),
                          c.effect ? readable_number(*c.effect, 3) : "", readable_number(c.cliffs_delta, 3),
                          readable_number(c.sign_flip_p, 3), readable_number(adjusted[i], 3), readable_number(c.attainable_p, 3),
                          c.t_p ? readable_number(*c.t_p, 3) : "", verdict(adjusted[i], c.attainable_p, compared.size())});
  }
  return fmt::format("`{}`{} against `{}`, paired on seeds (n = {}):\n\n", metric, log ? " (natural logarithm)" : "", baseline,
                     compared.front().comparison.n) +
         as_markdown(table) + "\n";
}

std::vector<Cell> cells_of(const StudyResults& results, const std::vector<std::string>& factors, const std::string& metric, bool log) {
  std::vector<Cell> cells;
  for (const std::string& arm : results.arm_order) {
    Cell cell;
    bool complete = true;
    for (const TrialResult& trial : results.trials) {
      if (trial.arm != arm) continue;
      const auto number = number_of(trial, metric);
      for (const std::string& factor : factors) {
        complete = complete && trial.point.contains(factor) && trial.point.at(factor).is_boolean();
        if (complete) cell.levels[factor] = trial.point.at(factor).get<bool>();
      }
      complete = complete && number;
      if (complete) cell.by_seed.push_back(transformed(*number, log));
    }
    if (complete && !cell.by_seed.empty()) cells.push_back(std::move(cell));
  }
  return cells;
}

// The literature's "gain over the sum": what all together gained, less the gains of each alone, as a share of the latter.
std::string over_the_sum(const std::vector<std::string>& factors, const std::vector<Cell>& cells) {
  const auto mean_where = [&](const auto& wanted) -> std::optional<double> {
    for (const Cell& cell : cells) {
      if (wanted(cell)) return summarise(cell.by_seed).mean;
    }
    return std::nullopt;
  };
  const auto count = [](const Cell& cell) { return std::count_if(cell.levels.begin(), cell.levels.end(), [](const auto& level) { return level.second; }); };
  const auto none = mean_where([&](const Cell& cell) { return count(cell) == 0; });
  const auto all = mean_where([&](const Cell& cell) { return count(cell) == static_cast<std::ptrdiff_t>(factors.size()); });
  if (!none || !all) return "";
  double sum = 0;
  for (const std::string& factor : factors) {
    const auto alone = mean_where([&](const Cell& cell) { return count(cell) == 1 && cell.levels.at(factor); });
    if (!alone) return "";
    sum += *alone - *none;
  }
  return fmt::format("All together change it by {}; the changes of each alone sum to {}: {} over the sum.\n\n",
                     readable_number(*all - *none), readable_number(sum), readable_number(*all - *none - sum));
}

std::string effects_table(const StudyResults& results, const Json& declared, const std::string& metric) {
  const auto factors = declared.at("factors").get<std::vector<std::string>>();
  const bool log = declared.at("log");
  const auto cells = cells_of(results, factors, metric, log);
  std::string out = fmt::format("`{}`{}:\n\n", metric, log ? " (natural logarithm)" : "");
  try {
    TextTable table{{"effect", "size", "95 % interval (t)", "seeds"}, {}};
    for (const Effect& effect : factorial_effects(factors, cells)) {
      table.rows.push_back({effect.name, readable_number(effect.size.mean), interval_text(effect.size.interval), std::to_string(effect.size.n)});
    }
    out += as_markdown(table) + "\n";
  } catch (const Error& error) {
    return out + "Not computed: " + error.what() + ".\n\n";
  }
  return out + over_the_sum(factors, cells);
}

struct TargetResult {
  std::string arm;
  double reached = 0;
  bool met = false;
};

std::vector<TargetResult> target_results(const StudyResults& results, const Json& target) {
  const std::string metric = target.at("metric"), baseline = target.at("baseline"), as = target.at("as"), only = target.at("arm");
  const double aim = target.at("value");
  const bool higher = target.at("better") == "higher";
  std::vector<TargetResult> reached;
  for (const std::string& arm : results.arm_order) {
    if (!only.empty() && arm != only) continue;
    if (as != "value" && arm == baseline) continue;
    const auto numbers = metric_by_seed(results, arm, metric);
    if (numbers.empty()) continue;
    double number = summarise(numbers).mean;
    if (as != "value") {
      const auto base = metric_by_seed(results, baseline, metric);
      if (base.empty()) continue;
      const double ratio = number / summarise(base).mean;
      number = as == "ratio" ? ratio : 1 - ratio;
    }
    reached.push_back({arm, number, higher ? number >= aim : number <= aim});
  }
  return reached;
}

}  // namespace

std::string key_findings(const StudyResults& results) {
  std::string out;
  for (const std::string& metric : scalar_metrics(results, false)) {
    const Better better = better_of(results, metric);
    if (better == Better::neither) continue;
    std::string best;
    double best_mean = 0;
    for (const std::string& arm : results.arm_order) {
      const auto numbers = metric_by_seed(results, arm, metric);
      if (numbers.empty()) continue;
      const double mean = summarise(numbers).mean;
      if (best.empty() || (better == Better::lower ? mean < best_mean : mean > best_mean)) {
        best = arm;
        best_mean = mean;
      }
    }
    if (!best.empty()) {
      out += fmt::format("- `{}` is {} in arm `{}`: {}.\n", metric, better == Better::lower ? "lowest" : "highest", best,
                         readable_summary(summarise(metric_by_seed(results, best, metric))));
    }
  }
  for (const Json& target : results.report.value("targets", Json::array())) {
    if (is_measured(results, target.at("metric"))) continue;
    const auto reached = target_results(results, target);
    const auto met = std::count_if(reached.begin(), reached.end(), [](const auto& each) { return each.met; });
    out += fmt::format("- Target \"{}\": met by {} of {} arms.\n", target.at("name").get<std::string>(), met, reached.size());
  }
  return out;
}

std::string comparison_section(const StudyResults& results) {
  std::string out;
  for (const Json& declared : results.report.value("comparisons", Json::array())) {
    for (const Json& metric : declared.at("metric")) {
      if (!is_measured(results, metric)) out += comparison_table(results, declared, metric);
    }
  }
  return out;
}

std::string effect_section(const StudyResults& results) {
  std::string out;
  for (const Json& declared : results.report.value("effects", Json::array())) {
    for (const Json& metric : declared.at("metric")) {
      if (!is_measured(results, metric)) out += effects_table(results, declared, metric);
    }
  }
  return out;
}

std::string target_section(const StudyResults& results, bool measured) {
  TextTable table{{"target", "arm", "aim", "reached", "met", "cap", "note"}, {}};
  for (const Json& target : results.report.value("targets", Json::array())) {
    const std::string metric = target.at("metric");
    if (is_measured(results, metric) != measured) continue;
    const bool higher = target.at("better") == "higher";
    for (const TargetResult& result : target_results(results, target)) {
      table.rows.push_back({target.at("name"), result.arm, (higher ? "≥ " : "≤ ") + readable_number(target.at("value").get<double>()),
                            readable_number(result.reached), result.met ? "yes" : "no",
                            target.at("cap").is_null() ? "" : readable_number(target.at("cap").get<double>()), target.at("note")});
    }
  }
  return table.rows.empty() ? "" : as_markdown(table) + "\n";
}

}  // namespace colonnade::host
