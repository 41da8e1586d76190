#include "kernel/report/findings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "kernel/report/analysis.h"
#include "kernel/report/markdown_text.h"
#include "kernel/report/numbers.h"
#include "kernel/report/tables.h"
#include "kernel/report/target_findings.h"

namespace colonnade::host {

namespace {

constexpr int p_digits = 3;

std::string interval_text(const std::optional<Interval>& interval) {
  if (!interval) return "";
  return "[" + readable_number(interval->low, p_digits) + ", " + readable_number(interval->high, p_digits) + "]";
}

std::string with_interval(double number, const std::optional<Interval>& interval) {
  return readable_number(number) + (interval ? " " + interval_text(interval) : "");
}

bool excludes_zero(const std::optional<Interval>& interval) {
  return interval && (interval->low > 0 || interval->high < 0);
}

const char* answer_text(Answer answer) {
  switch (answer) {
    case Answer::differs:
      return "differs";
    case Answer::none_shown:
      return "no difference shown";
    case Answer::underpowered:
      return "underpowered";
  }
  return "";
}

std::string metric_name(const std::string& metric, bool log) {
  return (log ? "ln " : "") + code_span(metric);
}

// "uncertainty (0.0029 ± 0.0051, 95 %, paired on examples)" or "a difference of 0.31 ± 0.02 (95 %, over seeds)".
std::string distance_text(const Distance& distance, const std::string& what) {
  const char* from = distance.from == UncertaintyOf::seeds             ? "over seeds"
                     : distance.from == UncertaintyOf::paired_examples ? "paired on examples"
                                                                       : "from its standard errors, unpaired";
  const std::string size = fmt::format("{} ± {}", readable_number(std::abs(distance.difference), p_digits),
                                       readable_number(*distance.uncertainty, 2));
  return distance.is_shown() ? fmt::format("{} {} (95 %, {})", what, size, from)
                             : fmt::format("{} ({}, 95 %, {})", what, size, from);
}

std::string best_sentence(const BestArm& best) {
  std::vector<std::string> arms;
  for (const std::string& arm : best.arms) arms.push_back(code_span(arm));
  const std::string extreme = best.lower ? "lowest" : "highest";
  if (!best.lead.is_shown()) {
    return fmt::format("- {}: no arm is shown to be {}. {} {} {}, next is {} with {}: no difference beyond its {}.\n",
                       code_span(best.metric), extreme, listed(arms), arms.size() == 1 ? "has" : "have",
                       readable_number(best.best.mean), code_span(best.second), readable_number(best.runner_up.mean),
                       distance_text(best.lead, "uncertainty"));
  }
  std::string out =
      fmt::format("- {} is {} in {}: {}; next is {}: {}", code_span(best.metric), extreme, listed(arms),
                  readable_number(best.best.mean), code_span(best.second), readable_number(best.runner_up.mean));
  if (best.lead.uncertainty) out += ", " + distance_text(best.lead, "a difference of");
  const bool is_count = best.best.mean == std::floor(best.best.mean);
  if (!best.lead.uncertainty && !is_count && best.seeds == 1) out += ", which has no standard error to be held against";
  if (best.seeds > 1 && best.seeds_won > 0 && arms.size() == 1) {
    const bool all = best.seeds_won == best.seeds;
    out += fmt::format(". {} is best under {} seeds", arms.front(),
                       all ? fmt::format("all {}", best.seeds) : fmt::format("{} of {}", best.seeds_won, best.seeds));
  }
  return out + ".\n";
}

std::string comparison_sentence(const Comparison& comparison) {
  if (comparison.arms.empty()) {
    return fmt::format("- {} against {}: not compared, {}.\n", metric_name(comparison.metric, comparison.log),
                       code_span(comparison.baseline), comparison.problem);
  }
  std::vector<std::string> differing, alike, underpowered;
  for (const ArmComparison& arm : comparison.arms) {
    if (arm.answer == Answer::differs)
      differing.push_back(code_span(arm.arm) + " by " + with_interval(arm.paired.mean_difference, arm.interval));
    if (arm.answer == Answer::none_shown) alike.push_back(code_span(arm.arm));
    if (arm.answer == Answer::underpowered) underpowered.push_back(code_span(arm.arm));
  }
  std::vector<std::string> parts;
  if (!differing.empty()) parts.push_back("differ: " + listed(differing));
  if (!alike.empty()) parts.push_back("no difference shown: " + listed(alike));
  const std::string needed = fmt::format("{} {} under Holm {} {} seeds", comparison.arms.size(),
                                         comparison.arms.size() == 1 ? "comparison" : "comparisons",
                                         comparison.arms.size() == 1 ? "needs" : "need", comparison.seeds_needed);
  if (underpowered.size() == comparison.arms.size()) {
    const auto largest =
        std::max_element(comparison.arms.begin(), comparison.arms.end(), [](const auto& a, const auto& b) {
          return std::abs(a.paired.mean_difference) < std::abs(b.paired.mean_difference);
        });
    parts.push_back(fmt::format("underpowered, {}, there are {}; the largest difference is {}'s, {}", needed,
                                largest->paired.n, code_span(largest->arm),
                                with_interval(largest->paired.mean_difference, largest->interval)));
  } else if (!underpowered.empty()) {
    parts.push_back(fmt::format("underpowered, as {}: {}", needed, listed(underpowered)));
  }
  return fmt::format("- {} against {}: {}.\n", metric_name(comparison.metric, comparison.log),
                     code_span(comparison.baseline), fmt::join(parts, "; "));
}

std::string effect_sentence(const EffectAnalysis& analysis) {
  if (analysis.effects.empty()) return "";
  std::vector<std::string> certain;
  bool any_interval = false;
  for (const Effect& effect : analysis.effects) {
    any_interval = any_interval || effect.size.interval.has_value();
    if (effect.factors.size() > 1 && excludes_zero(effect.size.interval)) {
      certain.push_back(escaped_markdown(effect.name) + " " + with_interval(effect.size.mean, effect.size.interval));
    }
  }
  const auto largest =
      std::max_element(analysis.effects.begin(), analysis.effects.end(),
                       [](const Effect& a, const Effect& b) { return std::abs(a.size.mean) < std::abs(b.size.mean); });
  std::string out =
      fmt::format("- Effects on {}: largest {} {}. ", metric_name(analysis.metric, analysis.log),
                  escaped_markdown(largest->name), with_interval(largest->size.mean, largest->size.interval));
  if (!any_interval) {
    out += "One seed gives interactions no interval, so synergy is open.";
  } else if (certain.empty()) {
    out += "No interaction's 95 % interval excludes zero: no synergy beyond addition is shown.";
  } else {
    out += fmt::format("Interactions whose 95 % interval excludes zero: {}.", listed(certain));
  }
  return out + "\n";
}

std::string comparison_table(const Comparison& comparison) {
  TextTable table{{"arm", "difference", "95 % interval", "d_z (Hedges)", "Cliff's delta", "p (sign flips)", "p (Holm)",
                   "least attainable p", "p (Wilcoxon)", "p (paired t)", "answer"},
                  {}};
  if (comparison.log) table.header.insert(table.header.begin() + 2, "ratio");
  std::size_t most_pairs = 0;
  bool bootstrapped = false, on_examples = false;
  for (const ArmComparison& arm : comparison.arms) {
    const PairedComparison& paired = arm.paired;
    std::vector<std::string> row = {arm.arm,
                                    readable_number(paired.mean_difference),
                                    interval_text(arm.interval),
                                    paired.effect ? readable_number(*paired.effect, p_digits) : "",
                                    readable_number(paired.cliffs_delta, p_digits),
                                    readable_number(paired.sign_flip_p, p_digits),
                                    readable_number(arm.adjusted_p, p_digits),
                                    readable_number(paired.attainable_p, p_digits),
                                    readable_number(paired.wilcoxon_p, p_digits),
                                    paired.t_p ? readable_number(*paired.t_p, p_digits) : "",
                                    answer_text(arm.answer)};
    if (comparison.log) row.insert(row.begin() + 2, readable_number(std::exp(paired.mean_difference)));
    table.rows.push_back(std::move(row));
    most_pairs = std::max(most_pairs, paired.n);
    bootstrapped = bootstrapped || arm.bootstrapped;
    on_examples = on_examples || arm.paired_on_examples;
  }
  std::string out = fmt::format("{} of each arm less that of {}, paired on {}{}.",
                                metric_name(comparison.metric, comparison.log), code_span(comparison.baseline),
                                most_pairs == 1 ? "one seed" : fmt::format("up to {} seeds", most_pairs),
                                on_examples ? " and examples" : "");
  out += bootstrapped     ? " Intervals: bootstrap over seeds, bias-corrected and accelerated."
         : most_pairs > 1 ? " Intervals: Student's t."
                          : "";
  return out + "\n\n" + as_markdown(table) + "\n";
}

std::string effects_table(const EffectAnalysis& analysis) {
  const std::string about = metric_name(analysis.metric, analysis.log);
  if (!analysis.problem.empty()) return fmt::format("{}: not computed, {}.\n\n", about, analysis.problem);
  TextTable table{{"effect", "size", "95 % interval (t)", "excludes 0", "seeds"}, {}};
  for (const Effect& effect : analysis.effects) {
    const auto& interval = effect.size.interval;
    table.rows.push_back({effect.name, readable_number(effect.size.mean), interval_text(interval),
                          !interval                 ? ""
                          : excludes_zero(interval) ? "yes"
                                                    : "no",
                          std::to_string(effect.size.n)});
  }
  std::string out = about + ":\n\n" + as_markdown(table) + "\n";
  if (!analysis.over_the_sum) return out;
  const auto [together, sum] = *analysis.over_the_sum;
  return out + fmt::format("All together change it by {}, the changes of each alone sum to {}: {} over the sum.\n\n",
                           readable_number(together), readable_number(sum), readable_number(together - sum));
}

Json interval_json(const std::optional<Interval>& interval) {
  return interval ? Json{json_number(interval->low), json_number(interval->high)} : Json();
}

Json comparison_json(const Comparison& comparison) {
  Json arms = Json::array();
  for (const ArmComparison& arm : comparison.arms) {
    const PairedComparison& paired = arm.paired;
    arms.push_back({{"arm", arm.arm},
                    {"pairs", paired.n},
                    {"difference", json_number(paired.mean_difference)},
                    {"interval", interval_json(arm.interval)},
                    {"interval_by", arm.bootstrapped ? "bootstrap" : "t"},
                    {"paired_on_examples", arm.paired_on_examples},
                    {"hedges_d_z", paired.effect ? json_number(*paired.effect) : Json()},
                    {"cliffs_delta", json_number(paired.cliffs_delta)},
                    {"sign_flip_p", json_number(paired.sign_flip_p)},
                    {"holm_p", json_number(arm.adjusted_p)},
                    {"attainable_p", json_number(paired.attainable_p)},
                    {"wilcoxon_p", json_number(paired.wilcoxon_p)},
                    {"paired_t_p", paired.t_p ? json_number(*paired.t_p) : Json()},
                    {"answer", answer_text(arm.answer)}});
  }
  Json document = {
      {"metric", comparison.metric}, {"baseline", comparison.baseline}, {"log", comparison.log}, {"arms", arms}};
  if (!comparison.problem.empty()) document["problem"] = comparison.problem;
  return document;
}

Json effect_json(const EffectAnalysis& analysis) {
  Json effects = Json::array();
  for (const Effect& effect : analysis.effects) {
    effects.push_back({{"factors", effect.factors},
                       {"size", json_number(effect.size.mean)},
                       {"interval", interval_json(effect.size.interval)},
                       {"seeds", effect.size.n}});
  }
  Json document = {{"metric", analysis.metric}, {"log", analysis.log}, {"effects", effects}};
  if (analysis.over_the_sum)
    document["over_the_sum"] = json_number(analysis.over_the_sum->together - analysis.over_the_sum->sum);
  if (!analysis.problem.empty()) document["problem"] = analysis.problem;
  return document;
}

Json impact_json(const FactorImpact& factor) {
  Json levels = Json::array();
  for (const auto& [level, summary] : factor.levels)
    levels.push_back({{"level", level}, {"mean", json_number(summary.mean)}, {"arms", summary.n}});
  return {{"factor", factor.factor},
          {"metric", factor.metric},
          {"levels", levels},
          {"explained", json_number(factor.impact.explained)},
          {"p", json_number(factor.impact.p)},
          {"attainable_p", json_number(factor.impact.attainable_p)},
          {"holm_p", json_number(factor.adjusted_p)},
          {"answer", answer_text(factor.answer)}};
}

Json summaries_json(const StudyResults& results) {
  Json arms = Json::object();
  const ArmTrials trials(results);
  const std::vector<std::string> metrics = scalar_metrics(results, false);
  for (const std::string& arm : results.arm_order) {
    arms[arm] = Json::object();
    for (const std::string& metric : metrics) {
      const Summary summary = summarise(trials.metric_by_seed(arm, metric));
      if (summary.n == 0) continue;
      arms[arm][metric] = {{"mean", json_number(summary.mean)},
                           {"seeds", summary.n},
                           {"deviation", summary.n > 1 ? json_number(summary.deviation) : Json()},
                           {"interval", interval_json(summary.interval)}};
    }
  }
  return arms;
}

template <typename Analysis, typename Write>
Json each(const std::vector<Analysis>& analyses, Write write) {
  Json list = Json::array();
  for (const Analysis& analysis : analyses) list.push_back(write(analysis));
  return list;
}

}  // namespace

std::string key_findings(const StudyResults& results, bool measured) {
  std::string out;
  for (const Comparison& comparison : comparisons_of(results, measured)) out += comparison_sentence(comparison);
  for (const EffectAnalysis& analysis : effects_of(results, measured)) out += effect_sentence(analysis);
  for (const Target& target : targets_of(results, measured)) out += target_sentence(target);
  for (const BestArm& best : best_arms(results, measured)) out += best_sentence(best);
  return out;
}

std::string comparison_section(const StudyResults& results, bool measured) {
  std::string out;
  for (const Comparison& comparison : comparisons_of(results, measured)) {
    if (!comparison.arms.empty()) out += comparison_table(comparison);
  }
  if (out.empty()) return "";
  return out +
         "\"Differs\" is Holm's p of the exact sign-flip test at most 0.05; \"underpowered\" is that so few seeds "
         "could not have reached it, whatever the difference. The paired t-test assumes normal differences.\n";
}

std::string effect_section(const StudyResults& results, bool measured) {
  std::string out;
  for (const EffectAnalysis& analysis : effects_of(results, measured)) out += effects_table(analysis);
  if (out.empty()) return "";
  return out +
         "An effect is the mean where the product of its factors' levels is +1 less the mean where it is −1; the "
         "interval is over seeds. An interaction of zero means that the factors add up.\n";
}

std::string impact_section(const StudyResults& results, bool measured) {
  TextTable table{{"metric", "factor", "means by level", "variance explained", "p (permuted)", "p (Holm)",
                   "least attainable p", "answer"},
                  {}};
  const auto impacts = factor_impacts(results, measured);
  const auto is_hopeless = [](const FactorImpact& factor) { return factor.answer == Answer::underpowered; };
  if (!impacts.empty() && std::all_of(impacts.begin(), impacts.end(), is_hopeless)) {
    return "There are too few arms for a permutation test to reach p = 0.05 for any factor; what each level came to is "
           "in comprehensive_results.json.\n";
  }
  for (const FactorImpact& factor : impacts) {
    std::vector<std::string> levels;
    for (const auto& [level, summary] : factor.levels) levels.push_back(level + ": " + readable_number(summary.mean));
    table.rows.push_back({factor.metric, factor.factor, fmt::format("{}", fmt::join(levels, ", ")),
                          readable_number(factor.impact.explained, p_digits),
                          readable_number(factor.impact.p, p_digits), readable_number(factor.adjusted_p, p_digits),
                          readable_number(factor.impact.attainable_p, p_digits), answer_text(factor.answer)});
  }
  if (table.rows.empty()) return "";
  return as_markdown(table) +
         "\nEach factor by itself, over the means of the arms that have it. The test permutes arms over its levels; "
         "other factors that vary beside it count as noise.\n";
}

Json findings_json(const StudyResults& results) {
  return {{"summaries", summaries_json(results)},
          {"comparisons", each(comparisons_of(results, false), comparison_json)},
          {"effects", each(effects_of(results, false), effect_json)},
          {"targets", each(targets_of(results, false), target_json)},
          {"factors", each(factor_impacts(results, false), impact_json)}};
}

}  // namespace colonnade::host
