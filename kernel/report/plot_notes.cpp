#include "kernel/report/plot_notes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernel/report/numbers.h"
#include "kernel/report/plot_axes.h"

namespace colonnade::host {

namespace {

constexpr double seen_apart = 0.004;  // of the span of all points

double span_of(const std::vector<double>& values) {
  if (values.empty()) return 0;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return *most - *least;
}

bool is_cut(const AxisScale& scale, const AxisData& data) {
  return std::any_of(data.intervals.begin(), data.intervals.end(), [&](const Interval& interval) {
    return scale.clamped(interval.low) != interval.low || scale.clamped(interval.high) != interval.high;
  });
}

}  // namespace

std::vector<std::string> covered_notes(const Plot& plot) {
  const double x_span = span_of(axis_data(plot, &PlotPoint::x, nullptr).values),
               y_span = span_of(axis_data(plot, &PlotPoint::y, nullptr).values);
  const auto same = [&](const PlotPoint& a, const PlotPoint& b) {
    return a.aside == b.aside && std::abs(a.x - b.x) <= seen_apart * x_span &&
           std::abs(a.y - b.y) <= seen_apart * y_span;
  };
  std::vector<std::string> notes;
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    for (std::size_t j = i + 1; j < plot.series.size(); ++j) {
      const auto &below = plot.series[i].points, &above = plot.series[j].points;
      if (!std::equal(below.begin(), below.end(), above.begin(), above.end(), same)) continue;
      notes.push_back(fmt::format("{} covers {}", plot.series[j].name, plot.series[i].name));
      break;
    }
  }
  return notes;
}

std::vector<std::string> axis_notes(const Plot& plot) {
  const AxisData x = axis_data(plot, &PlotPoint::x, &PlotPoint::x_interval);
  AxisData y = axis_data(plot, &PlotPoint::y, &PlotPoint::y_interval);
  y.from_zero = plot.type == "bars";
  std::vector<std::string> names, notes;
  bool cut = false;
  for (const auto& [name, axis, data] : {std::tuple("x", &plot.x, &x), {"y", &plot.y, &y}}) {
    const AxisScale scale = scale_of(*axis, *data);
    const bool has_zero = scale.low <= 0 && scale.high >= 0;
    if (axis->categories.empty() && !axis->log && !has_zero) names.emplace_back(name);
    cut = cut || is_cut(scale, *data);
  }
  if (names.size() == 2) notes.emplace_back("Neither axis starts at 0");
  if (names.size() == 1) notes.push_back(fmt::format("The {} axis does not start at 0", names.front()));
  if (cut) notes.emplace_back("Intervals that reach an edge go on beyond it; their numbers are in the tables");
  return notes;
}

std::vector<std::string> spread_over_names(Plot& plot) {
  const auto values = axis_data(plot, &PlotPoint::x, nullptr).values;
  if (!plot.x.categories.empty() || values.size() < 2 || span_of(values) > 0) return {};
  double at = 0;
  for (PlotSeries& series : plot.series) {
    for (PlotPoint& point : series.points) {
      plot.x.categories.push_back(point.label);
      point.x = at++;
      point.x_interval.reset();
    }
  }
  const std::string note =
      fmt::format("{} is {} for all, so they stand side by side", plot.x.label, readable_number(values.front()));
  plot.x.label.clear();
  plot.x.log = false;
  return {note};
}

std::vector<std::string> set_aside(Plot& plot) {
  constexpr std::size_t most_abreast = 9;
  std::map<double, std::vector<PlotPoint*>> at_x;
  for (PlotSeries& series : plot.series) {
    for (PlotPoint& point : series.points) {
      if (point.y_interval) at_x[point.x].push_back(&point);
    }
  }
  bool any = false;
  for (auto& [x, points] : at_x) {
    const auto overlap = [](const PlotPoint* a, const PlotPoint* b) {
      return a->y_interval->low <= b->y_interval->high && b->y_interval->low <= a->y_interval->high;
    };
    bool overlaps = false;
    for (std::size_t i = 0; i < points.size(); ++i) {
      for (std::size_t j = i + 1; j < points.size(); ++j) overlaps = overlaps || overlap(points[i], points[j]);
    }
    if (!overlaps || points.size() > most_abreast) continue;
    any = true;
    const double middle = static_cast<double>(points.size() - 1) / 2;
    for (std::size_t i = 0; i < points.size(); ++i) points[i]->aside = static_cast<double>(i) - middle;
  }
  if (!any) return {};
  return {"Points at the same x whose intervals overlap stand side by side"};
}

}  // namespace colonnade::host
