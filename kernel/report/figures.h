#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "kernel/report/report.h"

namespace colonnade::host {

struct DrawnFigure {
  std::string name, title;
  std::string caption;   // what its points are, what was left out
  std::string svg, png;  // relative to the run's folder
  bool measured = false;
  std::string problem;  // why it was not drawn, "" if it was
};

// Draws every declared figure as SVG and PNG into `folder`/plots (or plots/measured where a column is a measured one)
// with gnuplot. The files are functions of the results: no dates, no paths. A figure that cannot be drawn (no data, no
// gnuplot) says why.
std::vector<DrawnFigure> draw_figures(const StudyResults& results, const std::filesystem::path& folder);

// The same as a machine with gnuplot gives it; nothing is drawn.
std::vector<DrawnFigure> described_figures(const StudyResults& results);

}  // namespace colonnade::host
