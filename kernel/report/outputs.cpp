#include "kernel/report/outputs.h"

#include <set>

#include "colonnade/text.h"
#include "kernel/report/findings.h"
#include "kernel/report/numbers.h"
#include "kernel/report/tables.h"

namespace colonnade::host {

namespace {

const char* better_name(Better better) {
  switch (better) {
    case Better::higher:
      return "higher";
    case Better::lower:
      return "lower";
    case Better::neither:
      return "neither";
  }
  return "neither";
}

Json scalar_json(const Scalar& scalar) {
  Json document = {{"value", json_number(scalar.value)},
                   {"n", scalar.n},
                   {"standard_error", scalar.standard_error ? json_number(*scalar.standard_error) : Json()},
                   {"unit", scalar.unit},
                   {"better", better_name(scalar.better)}};
  return document;
}

Json table_json(const Table& table) {
  Json columns = Json::array();
  for (const Table::Column& column : table.columns()) {
    Json cells = Json::array();
    for (const Json& cell : column.cells)
      cells.push_back(cell.is_number_float() ? json_number(cell.get<double>()) : cell);
    columns.push_back({{"name", column.name}, {"type", column.type}, {"unit", column.unit}, {"cells", cells}});
  }
  return columns;
}

Json trial_json(const TrialResult& trial) {
  Json scalars = Json::object(), tables = Json::object(), contents = Json::object();
  for (const auto& [name, scalar] : trial.scalars) scalars[name] = scalar_json(scalar);
  for (const auto& [name, table] : trial.tables) tables[name] = table_json(table);
  for (const auto& [name, hash] : trial.contents) {
    if (!trial.measured.contains(name) && !trial.measured_tables.contains(name)) contents[name] = hash.hex();
  }
  Json document = {{"arm", trial.arm}, {"seed", trial.seed},       {"point", trial.point}, {"scalars", scalars},
                   {"tables", tables}, {"records", trial.records}, {"contents", contents}};
  if (!trial.failure.empty()) document["failure"] = trial.failure;
  return document;
}

Json files_json(const StudyResults& results) {
  Json list = Json::array();
  for (const ResultFile& file : results.files) {
    if (file.measured) continue;
    Json entry = {{"path", file.path}, {"value", file.source}, {"content", file.content.hex()}};
    if (!file.arm.empty()) entry.update({{"arm", file.arm}, {"seed", file.seed}});
    list.push_back(std::move(entry));
  }
  return list;
}

std::vector<std::string> point_names(const StudyResults& results) {
  std::set<std::string> names;
  for (const TrialResult& trial : results.trials) {
    for (const auto& [name, value] : trial.point.items()) names.insert(name);
  }
  return {names.begin(), names.end()};
}

std::string cell_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return exact_number(value.get<double>());
  return json_text(value);
}

TextTable trial_table(const StudyResults& results, bool measured) {
  const auto points = point_names(results);
  const auto metrics = scalar_metrics(results, measured);
  TextTable table;
  table.header = {"arm", "seed"};
  table.header.insert(table.header.end(), points.begin(), points.end());
  for (const std::string& metric : metrics) {
    table.header.push_back(metric);
    for (const char* part : {".standard_error", ".n", ".unit"}) table.header.push_back(metric + part);
  }
  if (!measured) table.header.push_back("failed");
  for (const TrialResult& trial : results.trials) {
    std::vector<std::string> row = {trial.arm, std::to_string(trial.seed)};
    for (const std::string& name : points)
      row.push_back(trial.point.contains(name) ? cell_text(trial.point.at(name)) : "");
    const auto& scalars = measured ? trial.measured : trial.scalars;
    for (const std::string& metric : metrics) {
      const auto found = scalars.find(metric);
      const bool has_error = found != scalars.end() && found->second.standard_error.has_value();
      row.push_back(found == scalars.end() ? "" : exact_number(found->second.value));
      row.push_back(has_error ? exact_number(*found->second.standard_error) : "");
      row.push_back(found == scalars.end() ? "" : std::to_string(found->second.n));
      row.push_back(found == scalars.end() ? "" : found->second.unit);
    }
    if (!measured) row.push_back(trial.failure.empty() ? "" : "failed");
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

std::string results_json(const StudyResults& results) {
  Json trials = Json::array();
  for (const TrialResult& trial : results.trials) trials.push_back(trial_json(trial));
  const Json document = {{"format", 1},
                         {"study", results.study},
                         {"question", results.question},
                         {"arms", results.arm_order},
                         {"trials", trials},
                         {"shared", trial_json(results.shared)},
                         {"files", files_json(results)},
                         {"analysis", findings_json(results)},
                         {"figures", results.figures},
                         {"report", results.report},
                         {"parameters", results.parameter_tables},
                         {"notes", results.notes},
                         {"lock", results.lock}};
  constexpr int indent = 1;
  return document.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string results_csv(const StudyResults& results) {
  return as_csv(trial_table(results, false));
}

std::string measured_csv(const StudyResults& results) {
  if (scalar_metrics(results, true).empty()) return "";
  return as_csv(trial_table(results, true));
}

}  // namespace colonnade::host
