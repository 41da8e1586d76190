#include "kernel/report/plot_script.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernel/report/numbers.h"

namespace colonnade::host {

namespace {

// Okabe and Ito's colours, which colour-blind readers tell apart, with a wine red for their yellow, which white
// swallows.
constexpr std::array<const char*, 8> palette = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                "#E69F00", "#56B4E9", "#882255", "#000000"};
constexpr std::array<int, 6> filled_marks = {7, 5, 9, 13, 11, 15};
constexpr std::array<int, 6> open_marks = {6, 4, 8, 12, 10, 14};
constexpr std::size_t most_marked_points = 40;  // of a line; beyond it marks hide the line
constexpr std::size_t least_band_points = 3;    // fewer show their intervals as bars
constexpr double bar_share = 0.8;               // of a category's width
constexpr double mark_size = 0.9;
constexpr double whisker_reach = 2;  // pixels to each side that a label keeps clear of lines

std::string colour_of(const PlotSeries& series) {
  return palette[series.colour % palette.size()];
}
int mark_of(const PlotSeries& series, bool filled) {
  // A round of the palette moves the marks on by one: as many series differ as there are pairs of colour and mark.
  constexpr std::size_t round_shift = filled_marks.size() + 1 - palette.size() % filled_marks.size();
  const std::size_t round = series.colour / palette.size();
  const std::size_t mark = (series.colour + round * round_shift + series.style) % filled_marks.size();
  return filled ? filled_marks[mark] : open_marks[mark];
}

const char* alignment(Side side) {
  switch (side) {
    case Side::left:
      return "right";
    case Side::middle:
      return "center";
    case Side::right:
      return "left";
  }
  return "left";
}

class FlatScript {
 public:
  explicit FlatScript(const Plot& plot) : plot_(plot) {
    AxisData x = axis_data(plot, &PlotPoint::x, &PlotPoint::x_interval),
             y = axis_data(plot, &PlotPoint::y, &PlotPoint::y_interval);
    y.from_zero = plot.type == "bars";
    x_ = scale_of(plot.x, x);
    y_ = scale_of(plot.y, y);
    for (AxisScale* scale : {&x_, &y_}) {
      for (Tick& tick : scale->ticks) tick.label = one_line(tick.label);
    }
  }

  std::string write() {
    LayoutRequest request;
    request.x = &x_;
    request.y = &y_;
    request.title = plot_.title;
    constexpr double narrowest_bar = 14;
    if (plot_.type == "bars") {
      const double bars = static_cast<double>(plot_.x.categories.size() * plot_.series.size());
      request.area_width = std::max(request.area_width, bars * narrowest_bar / bar_share);
    }
    constexpr double tick_room = 18;
    thin_ticks(x_, static_cast<std::size_t>(request.area_width / tick_room));
    thin_ticks(y_, static_cast<std::size_t>(request.area_height / tick_room));
    layout_ = layout_of(request);
    if (plot_.type == "pareto") find_frontier();
    const auto labels = direct_labels();
    legend_ = !labels && plot_.series.size() > 1;
    if (legend_) {
      for (const PlotSeries& series : plot_.series) request.legend.push_back(one_line(series.name));
      layout_ = layout_of(request);
    }
    if (plot_.type == "pareto") add_frontier();
    if (is_of_points()) {  // below every mark, also of other series
      for (const PlotSeries& series : plot_.series) add_intervals(series, 0, colour_of(series));
    }
    for (std::size_t i = 0; i < plot_.series.size(); ++i) add(i);
    std::string settings = data_ + script::frame(layout_) + script::axes(layout_, plot_, x_, y_) + key();
    if (plot_.type == "bars") settings += "set grid noxtics\nset xtics scale 0\n";
    if (labels) {
      for (const PlacedLabel& placed : *labels)
        settings += script::label(layout_, placed.x, placed.y, placed.text, alignment(placed.side));
    }
    return script::both_pictures(layout_, settings, "plot " + fmt::format("{}", fmt::join(curves_, ", \\\n     ")));
  }

 private:
  std::string key() const {
    if (!legend_) return "unset key\n";
    return fmt::format("set key at screen {:.5f},{:.5f} left top Left reverse samplen 1.5 spacing 1.15 noautotitle\n",
                       layout_.legend_left / layout_.width, 1 - layout_.area.top / layout_.height);
  }

  // Names beside the points where each series is one point and all find room; otherwise a legend names the series.
  std::optional<std::vector<PlacedLabel>> direct_labels() const {
    if (!is_of_points()) return std::nullopt;
    if (names_stand_below()) return std::vector<PlacedLabel>();
    const bool single = plot_.series.size() == 1;
    std::vector<LabelledPoint> points;
    std::vector<Box> obstacles;
    for (const PlotSeries& series : plot_.series) {
      if (!single && series.points.size() != 1) return std::nullopt;
      for (const PlotPoint& point : series.points) {
        points.push_back({layout_.x_pixel(x_, drawn_x(point)), layout_.y_pixel(y_, point.y),
                          one_line(single ? point.label : series.name)});
        const Extent extent = extent_of(point);
        obstacles.push_back(line_box(extent.x.low, point.y, extent.x.high, point.y));
        obstacles.push_back(line_box(drawn_x(point), extent.y.low, drawn_x(point), extent.y.high));
      }
    }
    for (std::size_t i = 1; i < frontier_.size(); ++i) {
      obstacles.push_back(
          line_box(frontier_[i - 1].first, frontier_[i - 1].second, frontier_[i].first, frontier_[i].second));
    }
    return place_labels(points, obstacles, layout_.area);
  }

  // Whether the categories along x are the points' names.
  bool names_stand_below() const {
    std::vector<std::string> names;
    for (const PlotSeries& series : plot_.series) {
      for (const PlotPoint& point : series.points)
        names.push_back(plot_.series.size() == 1 ? point.label : series.name);
    }
    return !names.empty() && names == plot_.x.categories;
  }

  bool is_of_points() const { return plot_.type == "scatter" || plot_.type == "pareto"; }

  // Where a point is drawn: marks' widths aside of its place.
  double drawn_x(const PlotPoint& point) const {
    constexpr double mark_width = 7;
    const double share = point.aside * mark_width / (layout_.area.right - layout_.area.left);
    return x_.log ? point.x * std::pow(x_.high / x_.low, share) : point.x + share * (x_.high - x_.low);
  }

  Box line_box(double x1, double y1, double x2, double y2) const {
    const double left = layout_.x_pixel(x_, std::min(x1, x2)), right = layout_.x_pixel(x_, std::max(x1, x2));
    const double bottom = layout_.y_pixel(y_, std::min(y1, y2)), top = layout_.y_pixel(y_, std::max(y1, y2));
    return {left - whisker_reach, top - whisker_reach, right + whisker_reach, bottom + whisker_reach};
  }

  std::string add_block(const std::vector<std::string>& lines) {
    const std::string name = fmt::format("$data{}", ++blocks_);
    data_ += name + " << END\n";
    for (const std::string& line : lines) data_ += line + "\n";
    data_ += "END\n";
    return name;
  }

  void add(std::size_t i) {
    if (plot_.type == "bars") return add_bars(i);
    if (plot_.type == "line") return add_line(i);
    add_marks(i);
  }

  // What a point's intervals cover inside the axes.
  struct Extent {
    Interval x, y;
  };
  Extent extent_of(const PlotPoint& point) const {
    Extent extent{{point.x, point.x}, {point.y, point.y}};
    if (point.x_interval) extent.x = {x_.clamped(point.x_interval->low), x_.clamped(point.x_interval->high)};
    if (point.y_interval) extent.y = {y_.clamped(point.y_interval->low), y_.clamped(point.y_interval->high)};
    return extent;
  }

  static std::string numbers(std::initializer_list<double> values) {
    std::string line;
    for (const double value : values) line += (line.empty() ? "" : " ") + exact_number(value);
    return line;
  }

  std::string title(std::size_t i) const {
    return legend_ ? "title " + script::quoted(one_line(plot_.series[i].name)) : "notitle";
  }

  void add_bars(std::size_t i) {
    const PlotSeries& series = plot_.series[i];
    const double count = static_cast<double>(plot_.series.size()), width = bar_share / count;
    const double shift = (static_cast<double>(i) - (count - 1) / 2) * width;
    std::vector<std::string> lines;
    for (const PlotPoint& point : series.points) lines.push_back(numbers({point.x + shift, point.y}));
    const double drawn_width = width * 0.94;
    curves_.push_back(fmt::format("{} using 1:2:({}) with boxes linecolor rgb '{}' {}", add_block(lines),
                                  exact_number(drawn_width), colour_of(series), title(i)));
    add_intervals(series, shift, "#333333");
  }

  // Lines over the intervals, drawn as vectors, which keep clear of no mark.
  void add_intervals(const PlotSeries& series, double shift, const std::string& colour) {
    std::vector<std::string> lines;
    for (const PlotPoint& point : series.points) {
      const Extent extent = extent_of(point);
      const double x = drawn_x(point) + shift;
      if (point.x_interval) lines.push_back(numbers({extent.x.low, point.y, extent.x.high - extent.x.low, 0}));
      if (point.y_interval) lines.push_back(numbers({x, extent.y.low, 0, extent.y.high - extent.y.low}));
    }
    if (lines.empty()) return;
    curves_.push_back(fmt::format("{} using 1:2:3:4 with vectors nohead linecolor rgb '{}' linewidth 1.5 notitle",
                                  add_block(lines), colour));
  }

  void add_line(std::size_t i) {
    const PlotSeries& series = plot_.series[i];
    std::vector<std::string> lines, band;
    for (const PlotPoint& point : series.points) {
      const Extent extent = extent_of(point);
      lines.push_back(numbers({point.x, point.y}));
      if (point.y_interval) band.push_back(numbers({point.x, extent.y.low, extent.y.high}));
    }
    const std::string colour = colour_of(series);
    if (band.size() >= least_band_points) {
      curves_.push_back(fmt::format(
          "{} using 1:2:3 with filledcurves fillstyle transparent solid 0.15 noborder linecolor rgb '{}' notitle",
          add_block(band), colour));
    } else {
      add_intervals(series, 0, colour);
    }
    const std::size_t dash = 1 + series.colour / palette.size() + series.style;
    const bool marked = series.points.size() <= most_marked_points;
    const std::string marks = marked ? fmt::format("pointtype {} pointsize {} ", mark_of(series, true), mark_size) : "";
    curves_.push_back(fmt::format("{} using 1:2 with {} linecolor rgb '{}' linewidth 2 dashtype {} {}{}",
                                  add_block(lines), marked ? "linespoints" : "lines", colour, dash, marks, title(i)));
  }

  bool dominated(const PlotPoint& point) const {
    const auto no_worse = [](double a, double b, bool lower) { return lower ? a <= b : a >= b; };
    for (const PlotSeries& series : plot_.series) {
      for (const PlotPoint& other : series.points) {
        const bool better = other.x != point.x || other.y != point.y;
        if (better && no_worse(other.x, point.x, plot_.x_lower_better) &&
            no_worse(other.y, point.y, plot_.y_lower_better))
          return true;
      }
    }
    return false;
  }

  void add_marks(std::size_t i) {
    const PlotSeries& series = plot_.series[i];
    std::vector<std::string> best, beaten;
    for (const PlotPoint& point : series.points) {
      const bool open = plot_.type == "pareto" && dominated(point);
      (open ? beaten : best).push_back(numbers({drawn_x(point), point.y}));
    }
    const auto marks = [&](const std::vector<std::string>& lines, bool filled, const std::string& name) {
      curves_.push_back(
          fmt::format("{} using 1:2 with points linecolor rgb '{}' linewidth 1.5 pointtype {} pointsize {} {}",
                      add_block(lines), colour_of(series), mark_of(series, filled), mark_size, name));
    };
    if (!best.empty()) marks(best, true, title(i));
    if (!beaten.empty()) marks(beaten, false, best.empty() ? title(i) : "notitle");
  }

  // The edge of what is reached: from each point of the frontier on until a better one takes over.
  void find_frontier() {
    std::vector<PlotPoint> best;
    for (const PlotSeries& series : plot_.series) {
      for (const PlotPoint& point : series.points) {
        if (!dominated(point)) best.push_back(point);
      }
    }
    std::stable_sort(best.begin(), best.end(), [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
    const bool lower = plot_.x_lower_better;
    const double worst_y = plot_.y_lower_better ? y_.high : y_.low;
    lower ? frontier_.emplace_back(best.front().x, worst_y) : frontier_.emplace_back(x_.low, best.front().y);
    for (std::size_t i = 0; i < best.size(); ++i) {
      if (i > 0)
        lower ? frontier_.emplace_back(best[i].x, best[i - 1].y) : frontier_.emplace_back(best[i - 1].x, best[i].y);
      frontier_.emplace_back(best[i].x, best[i].y);
    }
    lower ? frontier_.emplace_back(x_.high, best.back().y) : frontier_.emplace_back(best.back().x, worst_y);
  }

  void add_frontier() {
    std::vector<std::string> lines;
    for (const auto& [x, y] : frontier_) lines.push_back(numbers({x, y}));
    curves_.push_back(fmt::format(
        "{} using 1:2 with lines linecolor rgb '#777777' linewidth 1.2 dashtype (8,6) notitle", add_block(lines)));
  }

  const Plot& plot_;
  AxisScale x_, y_;
  Layout layout_;
  std::string data_;
  std::vector<std::string> curves_;
  std::vector<std::pair<double, double>> frontier_;
  std::size_t blocks_ = 0;
  bool legend_ = false;
};

}  // namespace

std::string plot_script(const Plot& plot) {
  if (plot.type == "heatmap" || plot.type == "surface") return grid_script(plot);
  return FlatScript(plot).write();
}

}  // namespace colonnade::host
