#include "kernel/report/plot_layout.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernel/report/letters.h"

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

// Advance widths of DejaVu Sans from the space to the tilde, in thousandths of the font's size.
constexpr std::array<int, 95> ascii_widths = {
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361,  318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635,  611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352,  635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,  525, 636, 337, 636, 838};

double width_of(char32_t code) {
  if (code >= ' ' && code <= '~') return ascii_widths[code - ' '] / 1000.0;
  const bool punctuation = code >= 0x2000 && code < 0x2E80;
  return code >= first_wide && !punctuation ? 1.0 : 0.75;
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

// Places for a label, the best first: beside, above and below, then diagonally, then the same further away.
std::vector<PlacedLabel> candidates_for(const LabelledPoint& point) {
  std::vector<PlacedLabel> candidates;
  const double near = point_radius + 3, half = font_size / 2 + 1;
  for (const double away : {1.0, 1.8}) {
    const double beside = near * away, rise = (near + half) * away;
    candidates.push_back({point.x + beside, point.y, Side::right, point.text});
    candidates.push_back({point.x - beside, point.y, Side::left, point.text});
    for (const Side side : {Side::middle, Side::right, Side::left}) {
      const double x = point.x + (side == Side::right ? beside : side == Side::left ? -beside : 0) / 2;
      candidates.push_back({x, point.y - rise, side, point.text});
      candidates.push_back({x, point.y + rise, side, point.text});
    }
  }
  return candidates;
}

}  // namespace

double text_width(const std::string& text) {
  double width = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Letter letter = letter_at(text, at);
    width += width_of(letter.code) * font_size;
    at += letter.length;
  }
  return width;
}

std::string one_line(const std::string& text, std::size_t most) {
  std::vector<std::string> letters;
  for (std::size_t at = 0; at < text.size();) {
    const Letter letter = letter_at(text, at);
    const bool kept = letter.code != not_a_letter && letter.code != ' ';
    letters.push_back(kept ? text.substr(at, letter.length) : letter.code == ' ' ? " " : "\xEF\xBF\xBD");
    at += letter.length;
  }
  // Names differ at their ends as often as at their starts: what is too long loses its middle.
  const bool cut = letters.size() > most;
  const std::size_t head = cut ? most / 2 : letters.size(), tail = cut ? most - head - 1 : 0;
  std::string out;
  for (std::size_t i = 0; i < head; ++i) out += letters[i];
  if (cut) out += "…";
  for (std::size_t i = letters.size() - tail; cut && i < letters.size(); ++i) out += letters[i];
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
  for (const std::string& name : request.legend)
    legend_width = std::max(legend_width, legend_sample + text_width(name));
  const double right = request.right_extra + (legend_width > 0 ? legend_width + 2 * gap : 2 * gap);
  layout.width = std::ceil(std::max(least_width, left + request.area_width + right));
  layout.title = wrapped(one_line(request.title, request.title.size()), layout.width - left - gap);
  const double top =
      gap + line_height * static_cast<double>(layout.title.size()) + (layout.title.empty() ? 0 : gap / 2);
  const double legend_height = line_height * static_cast<double>(request.legend.size());
  const double area_height = std::max(request.area_height, legend_height);
  layout.area = {left, top, left + request.area_width, top + area_height};
  layout.height = std::ceil(layout.area.bottom + tick_length + tick_height + gap + line_height + gap / 2);
  layout.y_label_left = layout.area.left - (widest(*request.y) + tick_length + line_height);
  layout.legend_left = layout.area.right + request.right_extra + gap;
  return layout;
}

void thin_ticks(AxisScale& scale, std::size_t most) {
  if (scale.ticks.size() <= most) return;
  const std::size_t least = (scale.ticks.size() + most - 1) / most;
  std::size_t stride = 1;
  for (std::size_t power = 1; stride < least; power *= 10) {
    for (const std::size_t step : {power, 2 * power, 5 * power}) {
      if (stride < least) stride = step;
    }
  }
  std::vector<Tick> kept;
  for (std::size_t i = 0; i < scale.ticks.size(); i += stride) kept.push_back(scale.ticks[i]);
  scale.ticks = kept;
}

std::optional<std::vector<PlacedLabel>> place_labels(const std::vector<LabelledPoint>& points,
                                                     const std::vector<Box>& obstacles, const Box& area) {
  std::vector<Box> taken = obstacles;
  for (const LabelledPoint& point : points) {
    taken.push_back({point.x - point_radius, point.y - point_radius, point.x + point_radius, point.y + point_radius});
  }
  std::vector<PlacedLabel> placed;
  for (const LabelledPoint& point : points) {
    const double width = text_width(point.text), half = font_size / 2 + 1;
    bool found = point.text.empty();
    for (const PlacedLabel& candidate : candidates_for(point)) {
      if (found) break;
      const double left = candidate.x - (candidate.side == Side::left     ? width
                                         : candidate.side == Side::middle ? width / 2
                                                                          : 0);
      const Box box = {left, candidate.y - half, left + width, candidate.y + half};
      const bool inside =
          box.left >= area.left + 2 && box.right <= area.right && box.top >= area.top && box.bottom <= area.bottom - 2;
      const auto covers = [&](const Box& other) { return box.overlaps(other); };
      if (!inside || std::any_of(taken.begin(), taken.end(), covers)) continue;
      taken.push_back(box);
      placed.push_back(candidate);
      found = true;
    }
    if (!found) return std::nullopt;
  }
  return placed;
}

}  // namespace colonnade::host
