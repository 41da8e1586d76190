#include "kernel/report/plot_layout.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace colonnade::host {

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr double line_height = 20, gap = 14, tick_length = 10;
constexpr double slant = 35 * pi / 180;  // of tick labels that are too long to stand side by side
constexpr double least_slanted_slot = 22;
constexpr double legend_sample = 48;  // the line or mark before a name
constexpr double least_width = 420;
constexpr double point_radius = 7;
constexpr char32_t first_wide = 0x1100;  // East Asian letters are as wide as high
constexpr char32_t replacement = 0xFFFD;

struct Decoded {
  char32_t code = 0;
  std::size_t length = 1;
};

bool is_continuation(std::string_view text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

// The code point at `at`; bytes that are no UTF-8 and control characters come as the replacement character and a space.
Decoded decode(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x20 || first == 0x7F) return {' ', 1};
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xF0 && first < 0xF5 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return {replacement, 1};
  char32_t code = first & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if (!is_continuation(text, at + i)) return {replacement, 1};
    code = code << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3F);
  }
  static constexpr std::array<char32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < least[length] || code > 0x10FFFF || surrogate || code == 0xFFFE || code == 0xFFFF) return {replacement, length};
  return {code, length};
}

double width_of(char32_t code) {
  if (code >= first_wide && !(code >= 0x2000 && code < 0x2E80)) return 1.0;
  if (code >= 0x80) return 0.66;
  constexpr std::string_view narrow = "ijl|!.,:;'`()[]{} ftrI/\\-", wide = "mwMW@%&+=<>~#QOGD";
  if (narrow.find(static_cast<char>(code)) != std::string_view::npos) return 0.41;
  if (wide.find(static_cast<char>(code)) != std::string_view::npos) return 0.9;
  return code >= 'A' && code <= 'Z' ? 0.72 : 0.64;
}

double widest(const AxisScale& scale) {
  double width = 0;
  for (const Tick& tick : scale.ticks) width = std::max(width, text_width(tick.label));
  return width;
}

// Between two neighbouring tick labels.
double slot_of(const AxisScale& scale, double length) {
  double slot = length;
  for (std::size_t i = 1; i < scale.ticks.size(); ++i) {
    slot = std::min(slot, (scale.fraction(scale.ticks[i].at) - scale.fraction(scale.ticks[i - 1].at)) * length);
  }
  return slot;
}

TickAngle angle_for(double label_width, double slot) {
  if (label_width + gap / 2 <= slot) return TickAngle::level;
  return slot >= least_slanted_slot ? TickAngle::slanted : TickAngle::upright;
}

}  // namespace

double text_width(const std::string& text) {
  double width = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Decoded decoded = decode(text, at);
    width += width_of(decoded.code) * font_size;
    at += decoded.length;
  }
  return width;
}

std::string one_line(const std::string& text, std::size_t most) {
  std::string out;
  std::size_t before_last = 0, count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) {
    if (count == most) return out.substr(0, before_last) + "…";
    before_last = out.size();
    const Decoded decoded = decode(text, at);
    if (decoded.code == replacement) {
      out += "\xEF\xBF\xBD";
    } else if (decoded.code == ' ') {
      out += ' ';
    } else {
      out += text.substr(at, decoded.length);
    }
    at += decoded.length;
  }
  return out;
}

std::vector<std::string> wrapped(const std::string& text, double width) {
  std::vector<std::string> lines;
  std::string line;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find(' ', start), text.size());
    const std::string word = text.substr(start, end - start);
    if (!line.empty() && text_width(line + " " + word) > width) {
      lines.push_back(line);
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    start = end + 1;
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

bool Box::overlaps(const Box& other) const {
  return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
}

Layout layout_of(const LayoutRequest& request) {
  Layout layout;
  const double label_width = widest(*request.x);
  const double slot = slot_of(*request.x, request.area_width);
  layout.x_angle = angle_for(label_width, slot);
  const bool slanted = layout.x_angle == TickAngle::slanted;
  double tick_height = font_size;
  if (slanted) tick_height = std::sin(slant) * label_width + std::cos(slant) * font_size;
  if (layout.x_angle == TickAngle::upright) tick_height = label_width;
  double left = gap + line_height + widest(*request.y) + tick_length + gap / 2;
  if (slanted && !request.x->ticks.empty()) {
    const double first = request.x->fraction(request.x->ticks.front().at) * request.area_width;
    left = std::max(left, gap + std::cos(slant) * text_width(request.x->ticks.front().label) - first);
  }
  double legend_width = 0;
  for (const std::string& name : request.legend) legend_width = std::max(legend_width, legend_sample + text_width(name));
  const double right = request.right_extra + (legend_width > 0 ? legend_width + 2 * gap : 2 * gap);
  layout.width = std::ceil(std::max(least_width, left + request.area_width + right));
  layout.title = wrapped(one_line(request.title, request.title.size()), layout.width - left - gap);
  const double top = gap + line_height * static_cast<double>(layout.title.size()) + (layout.title.empty() ? 0 : gap / 2);
  const double legend_height = line_height * static_cast<double>(request.legend.size());
  const double area_height = std::max(request.area_height, legend_height);
  layout.area = {left, top, left + request.area_width, top + area_height};
  layout.height = std::ceil(layout.area.bottom + tick_length + tick_height + gap + line_height + gap / 2);
  layout.legend_left = layout.area.right + request.right_extra + gap;
  return layout;
}

void thin_ticks(AxisScale& scale, std::size_t most) {
  if (scale.ticks.size() <= most) return;
  const std::size_t stride = (scale.ticks.size() + most - 1) / most;
  std::vector<Tick> kept;
  for (std::size_t i = 0; i < scale.ticks.size(); i += stride) kept.push_back(scale.ticks[i]);
  scale.ticks = kept;
}

std::optional<std::vector<PlacedLabel>> place_labels(const std::vector<LabelledPoint>& points, const Box& area) {
  std::vector<Box> taken;
  for (const LabelledPoint& point : points) {
    taken.push_back({point.x - point_radius, point.y - point_radius, point.x + point_radius, point.y + point_radius});
  }
  std::vector<PlacedLabel> placed;
  for (const LabelledPoint& point : points) {
    if (point.text.empty()) continue;
    const double width = text_width(point.text), near = point_radius + 3, half = font_size / 2 + 1;
    bool found = false;
    // Beside, above and below, then diagonally, then the same further away.
    for (const double away : {1.0, 1.8}) {
      const double right = point.x + near * away, left = point.x - near * away - width, middle = point.x - width / 2;
      const double rise = (near + half) * away;
      const std::array<PlacedLabel, 8> candidates = {{{right, point.y, ""},
                                                      {left, point.y, ""},
                                                      {middle, point.y - rise, ""},
                                                      {middle, point.y + rise, ""},
                                                      {right, point.y - rise, ""},
                                                      {right, point.y + rise, ""},
                                                      {left, point.y - rise, ""},
                                                      {left, point.y + rise, ""}}};
      for (const PlacedLabel& candidate : candidates) {
        const Box box = {candidate.x, candidate.y - half, candidate.x + width, candidate.y + half};
        const bool inside = box.left >= area.left + 2 && box.right <= area.right - 2 && box.top >= area.top && box.bottom <= area.bottom;
        const auto covers = [&](const Box& other) { return box.overlaps(other); };
        if (!inside || std::any_of(taken.begin(), taken.end(), covers)) continue;
        taken.push_back(box);
        placed.push_back({candidate.x, candidate.y, point.text});
        found = true;
        break;
      }
      if (found) break;
    }
    if (!found) return std::nullopt;
  }
  return placed;
}

}  // namespace colonnade::host
