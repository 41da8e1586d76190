#include "kernel/report/target_findings.h"

#include <fmt/format.h>

#include "kernel/report/markdown_text.h"
#include "kernel/report/numbers.h"
#include "kernel/report/tables.h"

namespace colonnade::host {

namespace {

std::string target_measure(const Target& target) {
  if (target.as == "value") return target.metric;
  return (target.as == "ratio" ? "" : "1 − ") + target.metric + " / that of " + target.baseline;
}

}  // namespace

std::string target_sentence(const Target& target) {
  if (!target.problem.empty())
    return fmt::format("- Target \"{}\" cannot be judged: {}.\n", escaped_markdown(target.name), target.problem);
  if (target.arms.empty())
    return fmt::format("- Target \"{}\": no value to hold against it.\n", escaped_markdown(target.name));
  std::vector<std::string> met;
  const TargetResult* nearest = &target.arms.front();
  for (const TargetResult& arm : target.arms) {
    if (arm.met) met.push_back(fmt::format("{} ({})", code_span(arm.arm), readable_number(arm.reached)));
    if (target.higher ? arm.reached > nearest->reached : arm.reached < nearest->reached) nearest = &arm;
  }
  const std::string aim =
      fmt::format("- Target \"{}\" ({} {} {})", escaped_markdown(target.name), code_span(target_measure(target)),
                  target.higher ? "≥" : "≤", readable_number(target.value));
  if (!met.empty())
    return fmt::format("{}: met by {} of {} arms: {}.\n", aim, met.size(), target.arms.size(), listed(met));
  const std::string cap =
      target.cap ? fmt::format("; at best {} can be reached here", readable_number(*target.cap)) : "";
  return fmt::format("{}: not met; nearest is {} with {}{}.\n", aim, code_span(nearest->arm),
                     readable_number(nearest->reached), cap);
}

std::string target_section(const StudyResults& results, bool measured) {
  TextTable table{{"target", "measure", "arm", "aim", "reached", "met", "at best here", "note"}, {}};
  for (const Target& target : targets_of(results, measured)) {
    const std::string aim = (target.higher ? "≥ " : "≤ ") + readable_number(target.value);
    const std::string cap =
        target.cap ? readable_number(*target.cap) + (target.out_of_reach ? " (out of reach)" : "") : "";
    if (target.arms.empty()) {
      const std::string reached = target.problem.empty() ? "no value" : "cannot be judged: " + target.problem;
      table.rows.push_back({target.name, target_measure(target), "", aim, reached, "", cap, target.note});
    }
    for (const TargetResult& arm : target.arms) {
      table.rows.push_back({target.name, target_measure(target), arm.arm, aim, readable_number(arm.reached),
                            arm.met ? "yes" : "no", cap, target.note});
    }
  }
  drop_empty_columns(table);
  return table.rows.empty() ? "" : as_markdown(table) + "\n";
}

Json target_json(const Target& target) {
  Json arms = Json::array();
  for (const TargetResult& arm : target.arms)
    arms.push_back({{"arm", arm.arm}, {"reached", json_number(arm.reached)}, {"met", arm.met}});
  Json document = {{"name", target.name},
                   {"measure", target_measure(target)},
                   {"value", json_number(target.value)},
                   {"better", target.higher ? "higher" : "lower"},
                   {"cap", target.cap ? json_number(*target.cap) : Json()},
                   {"arms", arms}};
  if (!target.problem.empty()) document["problem"] = target.problem;
  return document;
}

}  // namespace colonnade::host
