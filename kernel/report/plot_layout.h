#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "kernel/report/plot_axes.h"

namespace colonnade::host {

// Where things stand on a figure, in pixels from its upper left corner. Text is measured by estimates of DejaVu Sans's
// widths, so that a figure is the same whatever fonts a machine has.

constexpr double font_size = 14;

double text_width(const std::string& text);
// One line of valid UTF-8, at most `most` characters long, with … in the middle if that cut it.
std::string one_line(const std::string& text, std::size_t most = 44);
// Broken between words into lines of at most `width` pixels.
std::vector<std::string> wrapped(const std::string& text, double width);

struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;

  bool overlaps(const Box& other) const;
};

enum class TickAngle { level, slanted, upright };

struct Layout {
  double width = 0, height = 0;
  Box area;  // inside the axes
  TickAngle x_angle = TickAngle::level;
  std::vector<std::string> title;
  double legend_left = 0, y_label_left = 0;

  double x_pixel(const AxisScale& scale, double value) const {
    return area.left + scale.fraction(value) * (area.right - area.left);
  }
  double y_pixel(const AxisScale& scale, double value) const {
    return area.bottom - scale.fraction(value) * (area.bottom - area.top);
  }
};

struct LayoutRequest {
  double area_width = 660, area_height = 420;
  const AxisScale* x = nullptr;
  const AxisScale* y = nullptr;
  std::string title;
  std::vector<std::string> legend;  // names, empty: none
  double right_extra = 0;           // for a colour scale
};
Layout layout_of(const LayoutRequest& request);

// Leaves out ticks so that at most `most` remain, evenly.
void thin_ticks(AxisScale& scale, std::size_t most);

enum class Side { left, middle, right };

// A label that ends at, is centred on or begins at a place.
struct PlacedLabel {
  double x = 0, y = 0;
  Side side = Side::right;
  std::string text;
};
struct LabelledPoint {
  double x = 0, y = 0;
  std::string text;  // "" has no label but must not be covered
};
// A place beside each point where its label covers neither points nor obstacles nor labels; nothing if some label has
// none.
std::optional<std::vector<PlacedLabel>> place_labels(const std::vector<LabelledPoint>& points,
                                                     const std::vector<Box>& obstacles, const Box& area);

}  // namespace colonnade::host
