#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernel/report/report.h"

namespace colonnade::host {

// The rows that a figure draws, cut down to the columns it names.
struct PlotRow {
  std::string arm;
  std::uint64_t seed = 0;
  std::map<std::string, Json> cells;     // by column; null where the row has none
  std::map<std::string, double> errors;  // standard errors of metrics that have one, by column
};

struct PlotRows {
  std::vector<PlotRow> rows;
  std::map<std::string, std::string> units;  // by column
  std::vector<std::string> metric_columns;   // columns that are scalar metrics, so differ between seeds
  bool measured = false;
  std::string problem;  // why there are none
};

// `from` empty: a row a trial, with columns arm, seed, the factors of the arm's point and the scalar metrics. Otherwise
// the rows of that table of every trial. Only arms in `arms`, all if it is empty.
PlotRows plot_rows(const StudyResults& results, const std::string& from, const std::vector<std::string>& arms,
                   const std::vector<std::string>& columns);

}  // namespace colonnade::host
