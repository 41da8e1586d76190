#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

#include "kernel/report/numbers.h"
#include "kernel/report/plot_script.h"

namespace colonnade::host {

namespace script {

namespace {

constexpr const char* ink = "#333333";
constexpr const char* grid_ink = "#E4E4E4";
constexpr int png_scale = 2;  // pixels of the PNG for one of the SVG

double screen_x(const Layout& layout, double pixel) {
  return pixel / layout.width;
}
double screen_y(const Layout& layout, double pixel) {
  return 1 - pixel / layout.height;
}

}  // namespace

// In single quotes gnuplot reads no escapes, but its readers of macros, commands and quotes disagree on where they end.
// Characters that mean something to one of them are written by number, between double quotes, where that is read.
std::string quoted(const std::string& text) {
  constexpr std::string_view risky = "'\"\\@`";
  std::string out = "'";
  for (const char c : text) {
    out += risky.find(c) == std::string_view::npos ? std::string(1, c)
                                                   : fmt::format("'.\"\\{:03o}\".'", static_cast<int>(c));
  }
  return out + "'";
}

std::string quoted_tick(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '%' ? "%%" : std::string(1, c);
  return script::quoted(out);
}

std::string ticks(const std::string& axis, const AxisScale& scale, const std::string& options) {
  std::vector<std::string> entries;
  for (const Tick& tick : scale.ticks)
    entries.push_back(quoted_tick(one_line(tick.label)) + " " + exact_number(tick.at));
  return fmt::format("set {}tics {} ({})\n", axis, options, fmt::join(entries, ", "));
}

std::string label(const Layout& layout, double x, double y, const std::string& text, const std::string& options) {
  return fmt::format("set label {} at screen {:.5f},{:.5f} {} front\n", quoted(text), screen_x(layout, x),
                     screen_y(layout, y), options);
}

std::string frame(const Layout& layout) {
  const Box& area = layout.area;
  std::string out = fmt::format("set lmargin at screen {:.5f}\nset rmargin at screen {:.5f}\n",
                                screen_x(layout, area.left), screen_x(layout, area.right));
  out += fmt::format("set tmargin at screen {:.5f}\nset bmargin at screen {:.5f}\n", screen_y(layout, area.top),
                     screen_y(layout, area.bottom));
  out += fmt::format(
      "set border 3 linewidth 1 linecolor rgb '{}'\nset tics nomirror out scale 0.6 textcolor rgb '{}'\n", ink, ink);
  out += fmt::format(
      "set grid linetype 1 linewidth 1 linecolor rgb '{}'\nset errorbars 0\nset style fill solid 1 noborder\n",
      grid_ink);
  constexpr double line = 20;
  for (std::size_t i = 0; i < layout.title.size(); ++i) {
    out += label(layout, area.left, line * (static_cast<double>(i) + 1), layout.title[i], "left font ',16'");
  }
  return out;
}

std::string axes(const Layout& layout, const Plot& plot, const AxisScale& x, const AxisScale& y) {
  const char* angle = layout.x_angle == TickAngle::level     ? "norotate"
                      : layout.x_angle == TickAngle::slanted ? "rotate by 35 right"
                                                             : "rotate by 90 right";
  std::string out;
  if (x.log) out += "set logscale x\n";
  if (y.log) out += "set logscale y\n";
  out += fmt::format("set xrange [{}:{}]\nset yrange [{}:{}]\n", exact_number(x.low), exact_number(x.high),
                     exact_number(y.downwards ? y.high : y.low), exact_number(y.downwards ? y.low : y.high));
  out += ticks("x", x, angle) + ticks("y", y, "norotate");
  const double middle_x = (layout.area.left + layout.area.right) / 2,
               middle_y = (layout.area.top + layout.area.bottom) / 2;
  constexpr double from_bottom = 16;
  constexpr std::size_t longest_label = 72;
  out += label(layout, middle_x, layout.height - from_bottom, one_line(plot.x.label, longest_label), "center");
  out += label(layout, layout.y_label_left, middle_y, one_line(plot.y.label, longest_label), "center rotate by 90");
  return out;
}

std::string both_pictures(const Layout& layout, const std::string& settings, const std::string& plotting) {
  std::string out = "set encoding utf8\n";
  out += fmt::format("set terminal svg noenhanced size {:.0f},{:.0f} font 'DejaVu Sans,{:.0f}' background '#FFFFFF'\n",
                     layout.width, layout.height, font_size);
  out += "set output 'figure.svg'\n" + settings + plotting + "\nunset output\n";
  out += fmt::format(
      "set terminal pngcairo noenhanced size {:.0f},{:.0f} font 'DejaVu Sans,{:.0f}' fontscale {} linewidth {} "
      "pointscale {} background '#FFFFFF'\n",
      layout.width * png_scale, layout.height * png_scale, font_size, png_scale * 0.75, png_scale, png_scale);
  return out + "set output 'figure.png'\nreplot\nunset output\n";
}

}  // namespace script

}  // namespace colonnade::host
