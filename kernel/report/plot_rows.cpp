#include "kernel/report/plot_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "colonnade/error.h"
#include "kernel/report/tables.h"

namespace colonnade::host {

namespace {

class RowReader {
 public:
  RowReader(const std::vector<std::string>& columns, PlotRows& out) : columns_(columns), out_(out) {}

  void add_trial(const TrialResult& trial) {
    PlotRow row = start(trial);
    for (const std::string& column : columns_) {
      row.cells[column] = cell_of_trial(trial, column);
      const Scalar* scalar = scalar_of(trial, column);
      if (scalar != nullptr && scalar->standard_error) row.errors[column] = *scalar->standard_error;
      note(column, row.cells[column]);
    }
    out_.rows.push_back(std::move(row));
    for (const auto* scalars : {&trial.scalars, &trial.measured}) {
      for (const auto& [name, scalar] : *scalars) offered_.insert(name);
    }
    offer_common(trial);
  }

  void add_table(const TrialResult& trial, const Table& table) {
    for (const Table::Column& column : table.columns()) {
      offered_.insert(column.name);
      if (!column.unit.empty()) out_.units.emplace(column.name, column.unit);
    }
    offer_common(trial);
    for (std::size_t at = 0; at < table.rows(); ++at) {
      PlotRow row = start(trial);
      for (const std::string& column : columns_) {
        row.cells[column] = table.has_column(column) ? table.column(column).cells.at(at) : common_cell(trial, column);
        note(column, row.cells[column]);
      }
      out_.rows.push_back(std::move(row));
    }
  }

  // The first column that no row has.
  std::string missing() const {
    for (const std::string& column : columns_) {
      if (!seen_.contains(column)) return column;
    }
    return "";
  }

  std::vector<std::string> offered() const { return {offered_.begin(), offered_.end()}; }

 private:
  static PlotRow start(const TrialResult& trial) {
    PlotRow row;
    row.arm = trial.arm;
    row.seed = trial.seed;
    return row;
  }

  static Json common_cell(const TrialResult& trial, const std::string& column) {
    if (column == "arm") return trial.arm;
    if (column == "seed") return trial.seed;
    return trial.point.contains(column) ? trial.point.at(column) : Json();
  }

  Json cell_of_trial(const TrialResult& trial, const std::string& column) {
    const auto plain = trial.scalars.find(column);
    const auto measured = trial.measured.find(column);
    const bool is_measured = plain == trial.scalars.end() && measured != trial.measured.end();
    if (plain == trial.scalars.end() && !is_measured) return common_cell(trial, column);
    const Scalar& scalar = is_measured ? measured->second : plain->second;
    out_.measured = out_.measured || is_measured;
    if (!scalar.unit.empty()) out_.units.emplace(column, scalar.unit);
    const auto known = std::find(out_.metric_columns.begin(), out_.metric_columns.end(), column);
    if (known == out_.metric_columns.end()) out_.metric_columns.push_back(column);
    return scalar.value;
  }

  void note(const std::string& column, const Json& cell) {
    if (!cell.is_null()) seen_.insert(column);
  }

  void offer_common(const TrialResult& trial) {
    offered_.insert({"arm", "seed"});
    for (const auto& [name, level] : trial.point.items()) offered_.insert(name);
  }

  const std::vector<std::string>& columns_;
  PlotRows& out_;
  std::set<std::string> seen_, offered_;
};

bool chosen(const std::vector<std::string>& arms, const std::string& arm) {
  return arms.empty() || std::find(arms.begin(), arms.end(), arm) != arms.end();
}

}  // namespace

PlotRows plot_rows(const StudyResults& results, const std::string& from, const std::vector<std::string>& arms,
                   const std::vector<std::string>& columns) {
  PlotRows out;
  RowReader reader(columns, out);
  const auto add_tables = [&](const TrialResult& trial) {
    const auto plain = trial.tables.find(from);
    const auto measured = trial.measured_tables.find(from);
    if (plain != trial.tables.end()) reader.add_table(trial, plain->second);
    if (plain == trial.tables.end() && measured != trial.measured_tables.end()) {
      reader.add_table(trial, measured->second);
      out.measured = true;
    }
  };
  for (const TrialResult& trial : results.trials) {
    if (!chosen(arms, trial.arm)) continue;
    if (from.empty()) {
      reader.add_trial(trial);
    } else {
      add_tables(trial);
    }
  }
  if (!from.empty() && arms.empty()) add_tables(results.shared);
  const std::string missing = reader.missing();
  if (out.rows.empty()) {
    out.problem = from.empty() ? "there are no trials" : fmt::format("no trial has rows of the table '{}'", from);
  } else if (!missing.empty()) {
    out.problem = fmt::format("nothing has a value in the column '{}'{}; there are {}", missing,
                              did_you_mean(missing, reader.offered()), fmt::join(reader.offered(), ", "));
  }
  return out;
}

}  // namespace colonnade::host
