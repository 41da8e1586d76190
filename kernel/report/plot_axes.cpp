#include "kernel/report/plot_axes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace colonnade::host {

namespace {

constexpr double padding = 0.05;          // of the span, on each side
constexpr double category_padding = 0.5;  // of a category's width
constexpr int most_linear_ticks = 8;
constexpr int most_powers = 12;
constexpr double fewest_decades = 1.2;  // below it the ticks of a logarithmic axis are not powers of ten alone
constexpr double shortest_plain = 1e-3, longest_plain = 1e9;  // of ticks, as of numbers in tables
constexpr double longest_plain_power = 1e6;                   // of a logarithmic axis

std::string superscript(int exponent) {
  static const char* const digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = exponent < 0 ? "⁻" : "";
  for (const char c : std::to_string(std::abs(exponent))) out += digits[c - '0'];
  return out;
}

std::string grouped(std::string digits) {
  const std::size_t start = digits.starts_with('-') ? 1 : 0;
  const std::size_t end = std::min(digits.find('.'), digits.size());
  if (end < start + 5) return digits;  // four digits need no comma
  for (std::size_t at = end; at > start + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

// 0.01, 500, 20,000; as a power of ten where `plain` does not hold and the number is far from one.
std::string log_label(double value, bool plain) {
  constexpr double shortest_near = 0.01, longest_near = 1e4;
  if (plain || (value >= shortest_near && value < longest_near))
    return grouped(fmt::format("{:.{}f}", value,
                               value >= 1 ? (value == std::floor(value) ? 0 : 1)
                                          : std::max(0, static_cast<int>(std::ceil(-std::log10(value) - 1e-9)))));
  const int exponent = static_cast<int>(std::floor(std::log10(value) + 1e-9));
  const double mantissa = value / std::pow(10.0, exponent);
  const std::string power = "10" + superscript(exponent);
  return std::abs(mantissa - 1) < 1e-9 ? power : fmt::format("{:g}×{}", mantissa, power);
}

// A step of 1, 2 or 5 times a power of ten that gives as many ticks as there may be.
double step_for(double span) {
  const double raw = span / most_linear_ticks;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double step : {1.0, 2.0, 5.0}) {
    if (raw <= step * power) return step * power;
  }
  return 10 * power;
}

std::vector<Tick> linear_ticks(double low, double high, bool whole = false) {
  const double step = std::max(step_for(high - low), whole ? 1.0 : 0.0);
  const double most = std::max(std::abs(low), std::abs(high));
  const bool plain = most < longest_plain && most >= shortest_plain;
  const int exponent = plain ? 0 : static_cast<int>(std::floor(std::log10(most)));
  const double unit = std::pow(10.0, exponent);
  const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step / unit) - 1e-9)));
  std::vector<Tick> ticks;
  for (double count = std::ceil(low / step - 1e-9); count * step <= high + step * 1e-9; ++count) {
    const double at = count * step;
    if (count == 0) {
      ticks.push_back({0, "0"});
      continue;
    }
    ticks.push_back(
        {at, grouped(fmt::format("{:.{}f}", at / unit, decimals)) + (plain ? "" : "×10" + superscript(exponent))});
  }
  return ticks;
}

std::vector<Tick> log_ticks(double low, double high) {
  const double decades = std::log10(high / low);
  if (decades < std::log10(2.0)) return linear_ticks(low, high);
  const std::vector<double> steps = decades < fewest_decades ? std::vector<double>{1, 1.5, 2, 3, 4, 5, 7}
                                    : decades < 3            ? std::vector<double>{1, 2, 5}
                                                             : std::vector<double>{1};
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / most_powers)));
  const bool plain = low >= shortest_plain && high < longest_plain_power;
  std::vector<Tick> ticks;
  for (int exponent = static_cast<int>(std::floor(std::log10(low))); exponent <= std::log10(high); ++exponent) {
    if (exponent % stride != 0) continue;
    for (const double step : steps) {
      const double at = step * std::pow(10.0, exponent);
      if (at >= low * (1 - 1e-9) && at <= high * (1 + 1e-9)) ticks.push_back({at, log_label(at, plain)});
    }
  }
  return ticks;
}

AxisScale category_scale(const std::vector<std::string>& categories, bool downwards) {
  AxisScale scale;
  scale.downwards = downwards;
  scale.low = -category_padding;
  scale.high = static_cast<double>(categories.size()) - 1 + category_padding;
  for (const std::string& category : categories)
    scale.ticks.push_back({static_cast<double>(scale.ticks.size()), category});
  return scale;
}

// Widens what one or equal values would leave without a span.
void open(double& low, double& high, bool log) {
  const double span = high - low;
  if (span > 0 && span > 1e-12 * std::max(std::abs(low), std::abs(high))) {
    low -= padding * span;
    high += padding * span;
    return;
  }
  const double half = log ? 0.5 : std::max(std::abs(low) * 0.1, low == 0 ? 1.0 : 0.0);
  low -= half;
  high += half;
}

// The median width of the points' intervals; points without one have a width of zero.
template <typename Map>
double usual_width(const AxisData& data, Map mapped) {
  std::vector<double> widths(std::max(data.values.size(), data.intervals.size()), 0.0);
  for (std::size_t i = 0; i < data.intervals.size(); ++i) {
    const double width = mapped(data.intervals[i].high) - mapped(data.intervals[i].low);
    if (std::isfinite(width)) widths[i] = width;
  }
  const auto middle = widths.begin() + static_cast<std::ptrdiff_t>(widths.size() / 2);
  std::nth_element(widths.begin(), middle, widths.end());
  return *middle;
}

}  // namespace

double AxisScale::fraction(double value) const {
  const double share = log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return downwards ? 1 - share : share;
}

double AxisScale::clamped(double value) const {
  return std::clamp(value, low, high);
}

AxisScale scale_of(const PlotAxis& axis, const AxisData& data) {
  if (!axis.categories.empty()) return category_scale(axis.categories, axis.downwards);
  const auto mapped = [&](double value) { return axis.log ? std::log10(value) : value; };
  const auto [least, most] = std::minmax_element(data.values.begin(), data.values.end());
  double low = mapped(*least), high = mapped(*most);
  const double span = high - low;
  double widest_low = low, widest_high = high;
  for (const Interval& interval : data.intervals) {
    if (!axis.log || interval.low > 0) widest_low = std::min(widest_low, mapped(interval.low));
    widest_high = std::max(widest_high, mapped(interval.high));
  }
  const double reach = std::max(span, usual_width(data, mapped));
  low = span > 0 ? std::max(widest_low, low - reach) : widest_low;
  high = span > 0 ? std::min(widest_high, high + reach) : widest_high;
  const bool floor_at_zero = data.from_zero && !axis.log && low >= 0,
             ceiling_at_zero = data.from_zero && !axis.log && high <= 0;
  if (floor_at_zero) low = 0;
  if (ceiling_at_zero) high = 0;
  if (data.from_zero && !axis.log) {
    low = std::min(low, 0.0);
    high = std::max(high, 0.0);
  }
  open(low, high, axis.log);
  if (floor_at_zero) low = 0;
  if (ceiling_at_zero) high = 0;
  AxisScale scale;
  scale.log = axis.log;
  scale.low = axis.log ? std::pow(10.0, low) : low;
  scale.high = axis.log ? std::pow(10.0, high) : high;
  // Steps and counts have no halves.
  const bool whole = span > 0 && std::all_of(data.values.begin(), data.values.end(),
                                             [](double value) { return value == std::floor(value); });
  scale.ticks = axis.log ? log_ticks(scale.low, scale.high) : linear_ticks(scale.low, scale.high, whole);
  return scale;
}

AxisData axis_data(const Plot& plot, double PlotPoint::*value, std::optional<Interval> PlotPoint::*interval) {
  AxisData data;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) {
      data.values.push_back(point.*value);
      if (interval != nullptr && point.*interval) data.intervals.push_back(*(point.*interval));
    }
  }
  return data;
}

}  // namespace colonnade::host
