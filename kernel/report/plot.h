#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/report/report.h"
#include "kernel/report/statistics.h"

namespace colonnade::host {

// A declared figure with its data: what a drawing program needs and nothing more. Static and interactive figures come
// from it.

struct PlotAxis {
  std::string label;  // name and unit
  bool log = false;
  std::vector<std::string> categories;  // of a column without numbers: its positions are 0, 1, ...
  bool downwards = false;               // the first category stands at the top
};

struct PlotPoint {
  double x = 0, y = 0, z = 0;                      // finite; positive along logarithmic axes
  std::optional<Interval> x_interval, y_interval;  // 95 %, Student's t over seeds
  std::string label;
  double aside = 0;  // marks' widths to the right of its place at which it is drawn, see set_aside
};

struct PlotSeries {
  std::string name;
  std::size_t colour = 0, style = 0;  // which of the colours, of the line styles
  std::vector<PlotPoint> points;
};

struct Plot {
  std::string type, name, title;
  PlotAxis x, y, z;
  std::vector<PlotSeries> series;
  bool x_lower_better = true, y_lower_better = true;  // of a pareto figure
  bool measured = false;                              // a column is a measured one
  std::string caption;                                // what a point is, what was left out
  std::string problem;                                // why there is nothing to draw, "" if there is
};

// Points of trials are means over the seeds of an arm; points of a table's rows are means over seeds at the same place.
// Values that are not finite, and values without a logarithm on a logarithmic axis, are left out and counted in the
// caption.
Plot plot_of(const Json& declaration, const StudyResults& results);

}  // namespace colonnade::host
