#include "kernel/report/markdown.h"

#include <fmt/format.h>

#include "kernel/report/findings.h"
#include "kernel/report/tables.h"

namespace colonnade::host {

namespace {

constexpr std::size_t longest_table = 60;  // rows; the rest is in comprehensive_results.json

void add_section(std::string& out, const std::string& title, const std::string& body) {
  if (!body.empty()) out += "## " + title + "\n\n" + body + (body.ends_with("\n\n") ? "" : "\n");
}

// A declared section: its text, then the tables of each arm's first trial, and scalars by arm.
std::string declared_section(const StudyResults& results, const Json& section) {
  std::string out = section.at("text").get<std::string>();
  if (!out.empty()) out += "\n\n";
  std::vector<std::string> scalars;
  for (const Json& entry : section.at("table")) {
    const std::string metric = entry;
    bool is_table = false;
    for (const TrialResult& trial : results.trials) {
      const auto found = trial.tables.find(metric);
      if (found == trial.tables.end()) continue;
      is_table = true;
      out += fmt::format("Arm `{}`, seed {}:\n\n", trial.arm, trial.seed) + as_markdown(readable(found->second, longest_table)) + "\n";
      if (found->second.rows() > longest_table) out += fmt::format("{} rows more in comprehensive_results.json.\n\n", found->second.rows() - longest_table);
    }
    const auto shared = results.shared.tables.find(metric);
    if (shared != results.shared.tables.end()) out += as_markdown(readable(shared->second, longest_table)) + "\n";
    is_table = is_table || shared != results.shared.tables.end();
    if (!is_table) scalars.push_back(metric);
  }
  if (!scalars.empty()) out += as_markdown(arms_table(results, scalars)) + "\n";
  return out;
}

std::string figure_section(const std::vector<DrawnFigure>& figures, bool measured) {
  std::string out;
  for (const DrawnFigure& figure : figures) {
    if (figure.measured != measured) continue;
    const std::string title = figure.title.empty() ? figure.name : figure.title;
    if (!figure.problem.empty()) {
      out += fmt::format("{}: not drawn, {}.\n\n", title, figure.problem);
      continue;
    }
    out += fmt::format("![{}]({})\n\n", title, figure.svg);
  }
  return out;
}

std::string failures(const StudyResults& results) {
  std::string out;
  for (const TrialResult& trial : results.trials) {
    if (trial.failure.empty()) continue;
    out += fmt::format("- arm `{}`, seed {}:\n\n```\n{}\n```\n\n", trial.arm, trial.seed, trial.failure);
  }
  for (const std::string& note : results.notes) out += "- " + note + "\n";
  return out.empty() ? "Nothing failed.\n" : out;
}

std::string parameters(const StudyResults& results) {
  TextTable table{{"op", "parameter", "values", "default", "meaning"}, {}};
  for (const Json& op : results.parameter_tables) {
    for (const Json& param : op.value("params", Json::array())) {
      std::string values;
      for (const Json& value : param.value("values", Json::array())) values += (values.empty() ? "" : ", ") + value.dump();
      table.rows.push_back({op.value("op", ""), param.value("name", ""), values,
                            param.contains("default") ? param.at("default").dump() : "", param.value("doc", "")});
    }
  }
  return table.rows.empty() ? "" : as_markdown(table);
}

constexpr const char* replay_text =
    "`colonnade replay RUN`, with this folder as RUN, evaluates everything again in an empty store, each step on its recorded "
    "inputs, and says field by field what came out identical and where the first difference is. `lock.json` lists what "
    "determined the results; `study/` holds the study as it was.\n";

}  // namespace

std::string research_report(const StudyResults& results, const std::vector<DrawnFigure>& figures) {
  std::string out = "# " + results.study + "\n\n";
  add_section(out, "What was asked", results.question);
  add_section(out, "Key findings", key_findings(results));
  add_section(out, "Arms",
              as_markdown(arms_table(results, scalar_metrics(results, false))) +
                  "\nMean over seeds ± half the width of the 95 % interval (Student's t); without ± there is one seed and no interval.\n");
  if (!results.shared.scalars.empty()) add_section(out, "Beside the arms", as_markdown(shared_table(results)));
  add_section(out, "Comparisons", comparison_section(results));
  add_section(out, "Factorial effects", effect_section(results));
  add_section(out, "Targets", target_section(results, false));
  for (const Json& section : results.report.value("sections", Json::array())) {
    add_section(out, section.at("title").get<std::string>(), declared_section(results, section));
  }
  add_section(out, "Figures", figure_section(figures, false));
  if (!scalar_metrics(results, true).empty()) {
    add_section(out, "Measured", "Times and sizes of the machine that ran this study stand apart: [MEASURED_REPORT.md](MEASURED_REPORT.md).\n");
  }
  add_section(out, "What failed", failures(results));
  add_section(out, "Parameters", parameters(results));
  add_section(out, "How to replay", replay_text);
  return out;
}

std::string measured_report(const StudyResults& results, const std::vector<DrawnFigure>& figures) {
  const auto metrics = scalar_metrics(results, true);
  if (metrics.empty() && results.shared.measured.empty()) return "";
  std::string out = "# " + results.study + ": measured\n\nFigures of the machine that ran the study; another run differs.\n\n";
  add_section(out, "Arms", as_markdown(arms_table(results, metrics)));
  add_section(out, "Targets", target_section(results, true));
  add_section(out, "Figures", figure_section(figures, true));
  return out;
}

}  // namespace colonnade::host
