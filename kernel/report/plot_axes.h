#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/report/plot.h"

namespace colonnade::host {

struct Tick {
  double at = 0;
  std::string label;
};

// An axis as it is drawn: from `low` to `high`, in the data's own numbers.
struct AxisScale {
  double low = 0, high = 1;
  bool log = false, downwards = false;
  std::vector<Tick> ticks;

  double fraction(double value) const;  // of the way from low to high
  double clamped(double value) const;
};

struct AxisData {
  std::vector<double> values;
  std::vector<Interval> intervals;
  bool from_zero = false;  // bars start there
};

// A little wider than the values. Intervals widen it too, but at most by the values' own span or the median interval's
// width to each side, lest one wide interval flatten the rest.
AxisScale scale_of(const PlotAxis& axis, const AxisData& data);

// The values of one coordinate of all points.
AxisData axis_data(const Plot& plot, double PlotPoint::*value, std::optional<Interval> PlotPoint::*interval);

}  // namespace colonnade::host
