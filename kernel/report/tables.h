#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "colonnade/value.h"
#include "kernel/report/report.h"
#include "kernel/report/statistics.h"

namespace colonnade::host {

// Rows of texts under a heading; columns of numbers are aligned to the right.
struct TextTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

std::string as_text(const TextTable& table,
                    int width);  // for a terminal; cells are cut with … only if one row does not fit
std::string as_markdown(const TextTable& table);
std::string as_csv(const TextTable& table);  // quoted where needed
void drop_empty_columns(TextTable& table);   // those in which no row has a text

// Names of the scalar metrics that some trial has, in a fixed order; of measured ops if `measured`.
std::vector<std::string> scalar_metrics(const StudyResults& results, bool measured);

// What only other machines' runs have too: a metric that is measured under some arms alone (what is realised by a timing,
// say) lacks those arms' values; what is measured under all arms stays, for whoever asks for it.
StudyResults without_measured_cells(const StudyResults& results);
// The arms under which something is measured.
StudyResults measured_arms(const StudyResults& results);

// The trials of each arm, for whoever goes through all arms of a large study. The results must outlive it.
class ArmTrials {
 public:
  explicit ArmTrials(const StudyResults& results);
  const std::vector<const TrialResult*>& of(const std::string& arm) const;
  // The finite values of one metric of one arm, in the order of seeds, trials without it left out.
  std::vector<double> metric_by_seed(const std::string& arm, const std::string& metric) const;

 private:
  std::unordered_map<std::string, std::vector<const TrialResult*>> by_arm_;
};

// A metric of a trial, measured or not; null where it has none.
const Scalar* scalar_of(const TrialResult& trial, const std::string& metric);

// As the metric says; neither where no trial has it.
Better better_of(const StudyResults& results, const std::string& metric);

// "size.stored (bytes) ↓": a metric with its unit, and which direction is good where one is.
std::string metric_title(const StudyResults& results, const std::string& metric);

// Arms by metrics: mean ± half the t interval's width over seeds, under one seed the value ± its own standard error.
// Where not all seeds have a finite value, how many do.
TextTable arms_table(const StudyResults& results, const std::vector<std::string>& metrics);
// How to read that table: what ± is, what the arrows are; only what is there.
std::string arms_table_note(const StudyResults& results, const std::vector<std::string>& metrics);
TextTable shared_table(const StudyResults& results, bool measured);

// A table value with readable cells.
TextTable readable(const Table& table, std::size_t most_rows);

// The tables that one arm's seeds gave, as one: reals are means ± half widths over seeds. Nothing if their other cells
// differ.
std::optional<TextTable> readable_over_seeds(const std::vector<const Table*>& tables, std::size_t most_rows);

}  // namespace colonnade::host
