#include "kernel/report/markdown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "colonnade/text.h"
#include "kernel/report/analysis.h"
#include "kernel/report/findings.h"
#include "kernel/report/markdown_text.h"
#include "kernel/report/numbers.h"
#include "kernel/report/parameters.h"
#include "kernel/report/result_files.h"
#include "kernel/report/sharing_section.h"
#include "kernel/report/tables.h"
#include "kernel/report/target_findings.h"

namespace colonnade::host {

namespace {

constexpr std::size_t longest_table = 60;  // rows; the rest is in comprehensive_results.json
constexpr std::size_t widest_table = 7;    // metrics side by side
constexpr std::size_t most_levels = 12;    // of a factor that are listed
constexpr std::size_t most_tables = 12;    // of one metric; the rest is in comprehensive_results.json

void add_section(std::string& out, const std::string& title, const std::string& body) {
  if (body.empty()) return;
  out += "## " + title + "\n\n" + body + (body.ends_with("\n\n") ? "" : body.ends_with('\n') ? "\n" : "\n\n");
}

std::string seeds_text(const StudyResults& results) {
  std::vector<std::uint64_t> seeds;
  for (const TrialResult& trial : results.trials) {
    if (std::find(seeds.begin(), seeds.end(), trial.seed) == seeds.end()) seeds.push_back(trial.seed);
  }
  return fmt::format("{} {}: {}", seeds.size(), seeds.size() == 1 ? "seed" : "seeds", fmt::join(seeds, ", "));
}

std::string plain_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

// How many arms, seeds and levels of which factors.
std::string design(const StudyResults& results) {
  std::map<std::string, std::set<Json>> levels;
  for (const TrialResult& trial : results.trials) {
    for (const auto& [factor, level] : trial.point.items()) levels[factor].insert(level);
  }
  std::string out = fmt::format("{} {}, {}.\n", results.arm_order.size(),
                                results.arm_order.size() == 1 ? "arm" : "arms", seeds_text(results));
  TextTable table{{"factor", "levels"}, {}};
  for (const auto& [factor, distinct] : levels) {
    std::vector<std::string> texts;
    for (const Json& level : distinct) {
      if (texts.size() < most_levels) texts.push_back(plain_text(level));
    }
    if (distinct.size() > most_levels) texts.push_back(fmt::format("and {} more", distinct.size() - most_levels));
    table.rows.push_back({factor, fmt::format("{}", fmt::join(texts, ", "))});
  }
  return table.rows.empty() ? out : out + "\n" + as_markdown(table);
}

// Metrics of one record ("size.stored", "size.nominal") stand together, and no table has more columns than can be read.
std::vector<std::vector<std::string>> groups_of(const std::vector<std::string>& metrics) {
  std::map<std::string, std::vector<std::string>> records;
  for (const std::string& metric : metrics) {
    const std::size_t dot = metric.find('.');
    records[dot == std::string::npos ? metric : metric.substr(0, dot)].push_back(metric);
  }
  std::vector<std::vector<std::string>> groups = {{}};
  for (const auto& [record, own] : records) {
    if (own.size() > 1) {
      for (std::size_t first = 0; first < own.size(); first += widest_table) {
        const auto end = own.begin() + static_cast<std::ptrdiff_t>(std::min(first + widest_table, own.size()));
        groups.emplace_back(own.begin() + static_cast<std::ptrdiff_t>(first), end);
      }
      continue;
    }
    if (groups.front().size() == widest_table) groups.insert(groups.begin(), std::vector<std::string>());
    groups.front().push_back(own.front());
  }
  std::erase_if(groups, [](const auto& group) { return group.empty(); });
  std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.front() < b.front(); });
  return groups;
}

std::string arms_tables(const StudyResults& results, const std::vector<std::string>& metrics) {
  if (results.arm_order.empty()) return "";
  std::string out;
  for (const auto& group : groups_of(metrics)) out += as_markdown(arms_table(results, group)) + "\n";
  if (out.empty()) return "No trial has a value.\n";
  return out + arms_table_note(results, metrics);
}

std::string cut_table(const TextTable& table, std::size_t rows) {
  std::string out = as_markdown(table) + "\n";
  if (rows > longest_table)
    out += fmt::format("{} rows more are in comprehensive_results.json.\n\n", rows - longest_table);
  return out;
}

// A table metric of every arm: its seeds as one where they differ in reals alone.
std::string tables_of_metric(const StudyResults& results, const std::string& metric, bool measured) {
  const auto table_of = [&](const TrialResult& trial) -> const Table* {
    const auto& tables = measured ? trial.measured_tables : trial.tables;
    const auto found = tables.find(metric);
    return found == tables.end() ? nullptr : &found->second;
  };
  std::string out;
  if (const Table* shared = table_of(results.shared))
    out += cut_table(readable(*shared, longest_table), shared->rows());
  std::size_t shown = 0, more = 0;
  for (const std::string& arm : results.arm_order) {
    std::vector<const Table*> tables;
    std::vector<std::uint64_t> seeds;
    for (const TrialResult& trial : results.trials) {
      const Table* table = trial.arm == arm ? table_of(trial) : nullptr;
      if (table == nullptr) continue;
      tables.push_back(table);
      seeds.push_back(trial.seed);
    }
    if (tables.empty()) continue;
    const auto together = readable_over_seeds(tables, longest_table);
    for (std::size_t i = 0; i < (together ? 1 : tables.size()); ++i) {
      if (shown++ >= most_tables) {
        ++more;
        continue;
      }
      const bool one = tables.size() == 1 || !together;
      const std::string of = one ? fmt::format("seed {}", seeds[i]) : fmt::format("means over {} seeds", tables.size());
      out += fmt::format("{} of {}, {}:\n\n", code_span(metric), code_span(arm), of);
      out += cut_table(together ? *together : readable(*tables[i], longest_table), tables[i]->rows());
    }
  }
  if (more > 0) out += fmt::format("{} tables more are in comprehensive_results.json.\n\n", more);
  return out;
}

bool has_table(const StudyResults& results, const std::string& metric) {
  const auto has = [&](const TrialResult& trial) {
    return trial.tables.contains(metric) || trial.measured_tables.contains(metric);
  };
  return has(results.shared) || std::any_of(results.trials.begin(), results.trials.end(), has);
}

// The metrics of a section that are measured, or those that are not.
std::vector<std::string> chosen_scalars(const StudyResults& results, const Json& section, bool measured) {
  const auto known = scalar_metrics(results, measured);
  std::vector<std::string> chosen;
  for (const Json& metric : section.at("table")) {
    if (std::find(known.begin(), known.end(), metric.get<std::string>()) != known.end()) chosen.push_back(metric);
  }
  return chosen;
}

std::string declared_section(const StudyResults& results, const Json& section, bool measured) {
  std::string tables;
  const auto scalars = chosen_scalars(results, section, measured);
  if (!scalars.empty()) tables += as_markdown(arms_table(results, scalars)) + "\n";
  for (const Json& metric : section.at("table")) {
    if (has_table(results, metric)) tables += tables_of_metric(results, metric, measured);
  }
  const std::string text = section.at("text");
  if (measured) return tables;
  return text + (text.empty() || tables.empty() ? "" : "\n\n") + tables;
}

std::string figure_section(const std::vector<DrawnFigure>& figures, bool measured) {
  std::string out;
  for (const DrawnFigure& figure : figures) {
    if (figure.measured != measured) continue;
    const std::string title = escaped_markdown(figure.title.empty() ? figure.name : figure.title);
    if (!figure.problem.empty()) {
      out += fmt::format("{}: not drawn, {}.\n\n", title, escaped_markdown(figure.problem));
      continue;
    }
    out += fmt::format("![{}]({})\n\n", title, figure.svg);
    const std::string caption = figure.caption.empty() ? "" : " " + escaped_markdown(figure.caption);
    out += fmt::format("*{}.*{} [PNG]({})\n\n", title, caption, figure.png);
  }
  return out;
}

// One item for each failure, with the trials that it befell.
std::string failures(const StudyResults& results) {
  std::vector<std::pair<std::string, std::vector<const TrialResult*>>> by_message;
  std::set<std::string> said;
  for (const TrialResult& trial : results.trials) {
    if (trial.failure.empty()) continue;
    said.insert(fmt::format("{}, seed {} failed: {}", trial.arm, trial.seed, trial.failure));
    const auto known = std::find_if(by_message.begin(), by_message.end(),
                                    [&](const auto& each) { return each.first == trial.failure; });
    if (known != by_message.end()) {
      known->second.push_back(&trial);
    } else {
      by_message.push_back({trial.failure, {&trial}});
    }
  }
  std::string out;
  for (const auto& [message, trials] : by_message) {
    std::vector<std::string> names;
    for (const TrialResult* trial : trials)
      names.push_back(fmt::format("{} (seed {})", code_span(trial->arm), trial->seed));
    out += fmt::format("{} of {} trials: {}\n\n{}\n", trials.size(), results.trials.size(), fmt::join(names, ", "),
                       code_block(message));
  }
  if (!results.shared.failure.empty()) {
    out += fmt::format("Of what is shared by all arms:\n\n{}\n", code_block(results.shared.failure));
  }
  for (const std::string& note : results.notes) {
    if (!said.contains(note)) out += "- " + escaped_markdown(note) + "\n";
  }
  return out.empty() ? "Nothing failed.\n" : out;
}

constexpr const char* shared_note = "\nn is how many tokens, examples or elements a value was computed over.\n";

constexpr const char* replay_text =
    "`colonnade replay RUN`, with this folder as RUN, evaluates everything again in an empty store, each step on its "
    "recorded "
    "inputs, and says field by field what came out identical and where the first difference is. `lock.json` lists what "
    "determined the results; `study/` holds the study as it was.\n";

bool has_measured(const StudyResults& results) {
  const auto has = [](const TrialResult& trial) { return !trial.measured.empty() || !trial.measured_tables.empty(); };
  const auto is_measured = [](const ResultFile& file) { return file.measured; };
  return !results.sharing.empty() || has(results.shared) ||
         std::any_of(results.trials.begin(), results.trials.end(), has) ||
         std::any_of(results.files.begin(), results.files.end(), is_measured);
}

void add_analyses(std::string& out, const StudyResults& results, bool measured) {
  add_section(out, "Comparisons", comparison_section(results, measured));
  add_section(out, "Factorial effects", effect_section(results, measured));
  add_section(out, "What each factor explains", impact_section(results, measured));
  add_section(out, "Targets", target_section(results, measured));
  for (const Json& section : declarations(results, "sections")) {
    add_section(out, escaped_markdown(section.at("title")), declared_section(results, section, measured));
  }
  for (const SharingResult& sharing : results.sharing) {
    add_section(out, escaped_markdown(sharing.title), sharing_section(sharing, measured));
  }
}

}  // namespace

std::string research_report(const StudyResults& all, const std::vector<DrawnFigure>& figures) {
  const StudyResults results = without_measured_cells(all);
  std::string out = "# " + escaped_markdown(results.study) + "\n\n";
  add_section(out, "What was asked", results.question);
  add_section(out, "Key findings", key_findings(results, false));
  add_section(out, "Design", design(results));
  add_section(out, "Arms", arms_tables(results, scalar_metrics(results, false)));
  if (!results.shared.scalars.empty())
    add_section(out, "Beside the arms", as_markdown(shared_table(results, false)) + shared_note);
  const bool all_skipped = figures.empty() && !results.figures.empty();
  add_section(out, "Figures", all_skipped ? "Not drawn: plots were switched off.\n" : figure_section(figures, false));
  add_analyses(out, results, false);
  add_section(out, "Files", files_section(results, false));
  if (has_measured(all)) {
    add_section(
        out, "Measured on this machine",
        "Times and memory of the machine that ran this study, and what follows from them, stand apart, as another "
        "run has others: [MEASURED_REPORT.md](MEASURED_REPORT.md).\n");
  }
  add_section(out, "What failed", failures(results));
  add_section(out, "Conditions", conditions_section(results));
  add_section(out, "Parameters", parameters_section(results));
  add_section(out, "How to replay", replay_text);
  return out;
}

std::string measured_report(const StudyResults& results, const std::vector<DrawnFigure>& figures) {
  if (!has_measured(results)) return "";
  std::string out = "# " + escaped_markdown(results.study) + ": measured\n\n";
  out +=
      "Numbers of the machine that ran the study; another run has others. What does not depend on it is in "
      "[RESEARCH_REPORT.md](RESEARCH_REPORT.md).\n\n";
  add_section(out, "Key findings", key_findings(results, true));
  const auto metrics = scalar_metrics(results, true);
  if (!metrics.empty()) add_section(out, "Arms", arms_tables(measured_arms(results), metrics));
  if (!results.shared.measured.empty()) add_section(out, "Beside the arms", as_markdown(shared_table(results, true)));
  add_section(out, "Figures", figure_section(figures, true));
  add_analyses(out, results, true);
  add_section(out, "Files", files_section(results, true));
  return out;
}

}  // namespace colonnade::host
