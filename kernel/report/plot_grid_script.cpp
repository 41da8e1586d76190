#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "kernel/report/numbers.h"
#include "kernel/report/plot_script.h"

namespace colonnade::host {

namespace {

// Viridis at nine places: its lightness rises evenly, in grey and to colour-blind eyes too.
constexpr const char* sequential_palette =
    "set palette defined (0 '#440154', 1 '#482878', 2 '#3E4A89', 3 '#31688E', 4 '#26828E', 5 '#1F9E89', 6 '#35B779', 7 "
    "'#6DCD59', "
    "8 '#B4DE2C', 9 '#FDE725')\n";
// Blue to red over white at zero, for values of both signs.
constexpr const char* diverging_palette =
    "set palette defined (-3 '#2166AC', -2 '#67A9CF', -1 '#D1E5F0', 0 '#F7F7F7', 1 '#FDDBC7', 2 '#EF8A62', 3 "
    "'#B2182B')\n";
constexpr double light_from = 0.6;         // of the sequential palette: dark text from here on
constexpr double dark_beyond = 0.36;       // from the middle of the diverging one: light text
constexpr double colour_scale_width = 16;  // pixels
constexpr double colour_scale_room = 40;   // beside its numbers

struct ColourScale {
  AxisScale scale;
  bool diverging = false;
};

ColourScale colour_scale_of(const Plot& plot) {
  ColourScale colours;
  const AxisData data = axis_data(plot, &PlotPoint::z, nullptr);
  colours.scale = scale_of(plot.z, data);
  const auto [least, most] = std::minmax_element(data.values.begin(), data.values.end());
  colours.diverging = *least < 0 && *most > 0;
  if (!colours.diverging) return colours;
  const double reach = std::max(-*least, *most);
  AxisData symmetric;
  symmetric.values = {-reach, reach};
  colours.scale = scale_of(plot.z, symmetric);
  return colours;
}

std::string colour_settings(const ColourScale& colours, const Layout& layout, const std::string& label) {
  const Box& area = layout.area;
  const double left = area.right + 16;
  std::string out = colours.diverging ? diverging_palette : sequential_palette;
  if (colours.scale.log) out += "set logscale cb\n";
  out += fmt::format("set cbrange [{}:{}]\n", exact_number(colours.scale.low), exact_number(colours.scale.high));
  out += fmt::format("set colorbox user origin screen {:.5f},{:.5f} size screen {:.5f},{:.5f} noborder\n",
                     left / layout.width, 1 - area.bottom / layout.height, colour_scale_width / layout.width,
                     (area.bottom - area.top) / layout.height);
  out += script::ticks("cb", colours.scale, "scale 0");
  constexpr double from_right = 16;
  return out + script::label(layout, layout.width - from_right, (area.top + area.bottom) / 2, one_line(label),
                             "center rotate by 90");
}

double widest_tick(const AxisScale& scale) {
  double width = 0;
  for (const Tick& tick : scale.ticks) width = std::max(width, text_width(tick.label));
  return width;
}

LayoutRequest request_for(const Plot& plot, const AxisScale& x, const AxisScale& y, const ColourScale& colours) {
  LayoutRequest request;
  request.x = &x;
  request.y = &y;
  request.title = plot.title;
  request.right_extra = colour_scale_room + widest_tick(colours.scale) + 12;
  return request;
}

// Numbers in the cells where they fit, dark on light and light on dark.
std::string cell_numbers(const Plot& plot, const Layout& layout, const AxisScale& x, const AxisScale& y,
                         const ColourScale& colours) {
  constexpr std::size_t most_cells = 400;
  const auto& points = plot.series[0].points;
  if (points.size() > most_cells) return "";
  constexpr int digits = 3;
  constexpr double cell_font = 12;
  const double cell_width = (layout.area.right - layout.area.left) / (x.high - x.low),
               cell_height = (layout.area.bottom - layout.area.top) / (y.high - y.low);
  std::string out;
  for (const PlotPoint& point : points) {
    const std::string text = readable_number(point.z, digits);
    if (text_width(text) * cell_font / font_size + 6 > cell_width || font_size + 2 > cell_height) return "";
    const double place = colours.scale.fraction(point.z);
    const bool on_dark = colours.diverging ? std::abs(place - 0.5) > dark_beyond : place < light_from;
    out += script::label(layout, layout.x_pixel(x, point.x), layout.y_pixel(y, point.y), text,
                         fmt::format("center textcolor rgb '{}' font ',12'", on_dark ? "#FFFFFF" : "#222222"));
  }
  return out;
}

std::string heatmap_script(const Plot& plot) {
  AxisScale x = scale_of(plot.x, {}), y = scale_of(plot.y, {});
  for (AxisScale* scale : {&x, &y}) {
    for (Tick& tick : scale->ticks) tick.label = one_line(tick.label);
  }
  const ColourScale colours = colour_scale_of(plot);
  LayoutRequest request = request_for(plot, x, y, colours);
  constexpr double cell_width = 68, cell_height = 34, least_width = 320, most_width = 760, least_height = 200,
                   most_height = 640;
  request.area_width = std::clamp(cell_width * static_cast<double>(plot.x.categories.size()), least_width, most_width);
  request.area_height =
      std::clamp(cell_height * static_cast<double>(plot.y.categories.size()), least_height, most_height);
  constexpr double tick_room = 18;
  thin_ticks(x, static_cast<std::size_t>(request.area_width / tick_room));
  thin_ticks(y, static_cast<std::size_t>(request.area_height / tick_room));
  const Layout layout = layout_of(request);
  // Where cells are small, each reaches a little below its neighbours, which are drawn after it: no seam shows between
  // them.
  constexpr std::size_t seams_show = 400;
  const double reach = plot.series[0].points.size() > seams_show ? 0.53 : 0.5;
  std::string data = "$cells << END\n";
  std::vector<PlotPoint> cells = plot.series[0].points;
  std::sort(cells.begin(), cells.end(),
            [](const PlotPoint& a, const PlotPoint& b) { return std::pair(a.x, a.y) < std::pair(b.x, b.y); });
  for (const PlotPoint& point : cells) {
    data += fmt::format("{} {} {} {} {} {} {}\n", point.x, point.y, point.x - 0.5, point.x + reach, point.y - 0.5,
                        point.y + reach, exact_number(point.z));
  }
  data += "END\n";
  std::string settings =
      data + script::frame(layout) + script::axes(layout, plot, x, y) + colour_settings(colours, layout, plot.z.label);
  settings += cell_numbers(plot, layout, x, y, colours);
  settings += "unset key\nunset grid\nunset border\nset tics scale 0\n";
  return script::both_pictures(
      layout, settings, "plot $cells using 1:2:3:4:5:6:7 with boxxyerror fillcolor palette fillstyle solid 1 noborder");
}

// The grid that the points are on, row by row; points that are missing are NaN, which gnuplot leaves open.
std::string surface_data(const Plot& plot, bool& is_grid) {
  std::set<double> xs, ys;
  std::map<std::pair<double, double>, double> at;
  for (const PlotPoint& point : plot.series[0].points) {
    xs.insert(point.x);
    ys.insert(point.y);
    at[{point.x, point.y}] = point.z;
  }
  is_grid = xs.size() > 1 && ys.size() > 1 && 4 * at.size() >= 3 * xs.size() * ys.size();
  std::string data = "$surface << END\n";
  for (const double y : ys) {
    for (const double x : xs) {
      const auto found = at.find({x, y});
      if (found == at.end() && !is_grid) continue;
      data += fmt::format("{} {} {}\n", exact_number(x), exact_number(y),
                          found == at.end() ? "NaN" : exact_number(found->second));
    }
    if (is_grid) data += "\n";
  }
  return data + "END\n";
}

// Names beside points that stand alone, as long as they are few.
std::string point_names(const Plot& plot) {
  constexpr std::size_t most_names = 24;
  const auto& points = plot.series[0].points;
  std::string out;
  for (const PlotPoint& point : points) {
    if (point.label.empty() || points.size() > most_names) continue;
    out += fmt::format("set label {} at first {},{},{} left offset 1,0 front\n", script::quoted(one_line(point.label)),
                       exact_number(point.x), exact_number(point.y), exact_number(point.z));
  }
  return out;
}

std::string surface_script(const Plot& plot) {
  AxisScale x = scale_of(plot.x, axis_data(plot, &PlotPoint::x, nullptr)),
            y = scale_of(plot.y, axis_data(plot, &PlotPoint::y, nullptr));
  const AxisScale z = scale_of(plot.z, axis_data(plot, &PlotPoint::z, nullptr));
  for (AxisScale* scale : {&x, &y}) {
    for (Tick& tick : scale->ticks) tick.label = one_line(tick.label);
  }
  const ColourScale colours = colour_scale_of(plot);
  LayoutRequest request = request_for(plot, x, y, colours);
  constexpr double width = 620, height = 500;
  request.area_width = width;
  request.area_height = height;
  const Layout layout = layout_of(request);
  bool is_grid = false;
  std::string settings = surface_data(plot, is_grid);
  settings += script::frame(layout) + colour_settings(colours, layout, plot.z.label);
  // Margins hold for flat axes; a rotated box fits itself into the space it is given.
  settings += "set lmargin 0\nset rmargin 0\nset tmargin 0\nset bmargin 0\n";
  constexpr double own_share = 0.08;  // of the width that gnuplot leaves for the numbers along z
  const double shift = std::max(0.0, widest_tick(z) + 20 - own_share * layout.area.right);
  settings += fmt::format("set origin {:.5f},0\nset size {:.5f},{:.5f}\n", shift / layout.width,
                          (layout.area.right - shift) / layout.width, 1 - layout.area.top / layout.height);
  for (const auto& [name, scale] : {std::pair<const char*, const AxisScale*>("x", &x), {"y", &y}, {"z", &z}}) {
    if (scale->log) settings += fmt::format("set logscale {}\n", name);
    settings += fmt::format("set {}range [{}:{}]\n", name, exact_number(scale->low), exact_number(scale->high)) +
                script::ticks(name, *scale, "offset 0,-0.3");
  }
  settings += fmt::format("set xlabel {} rotate parallel offset 0,-1\nset ylabel {} rotate parallel offset 0,-1\n",
                          script::quoted(one_line(plot.x.label)), script::quoted(one_line(plot.y.label)));
  settings += "set border 127+256+512 linecolor rgb '#999999'\nset xyplane at " + exact_number(z.low) +
              "\nset view 58,38\nset grid vertical\nunset key\n";
  if (is_grid) {
    settings += "set pm3d depthorder border linecolor rgb '#555555' linewidth 0.4\nset hidden3d\n";
    return script::both_pictures(layout, settings, "splot $surface using 1:2:3 with pm3d");
  }
  settings += point_names(plot);
  const std::string points = "$surface using 1:2:3:3 with points pointtype 7 pointsize 1.2 linecolor palette";
  return script::both_pictures(layout, settings,
                               "splot $surface using 1:2:3 with impulses linecolor rgb '#999999', " + points);
}

}  // namespace

std::string grid_script(const Plot& plot) {
  return plot.type == "heatmap" ? heatmap_script(plot) : surface_script(plot);
}

}  // namespace colonnade::host
