#include "kernel/evaluate/progress_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernel/evaluate/system.h"

namespace colonnade::host {

namespace {

constexpr int kNameWidth = 24;
constexpr int kBarWidth = 22;

bool starts_character(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}

double share_of(const NodeProgress& progress) {
  if (progress.total <= 0) return 0;
  return std::clamp(static_cast<double>(progress.done) / static_cast<double>(progress.total), 0.0, 1.0);
}

std::string rate_text(const NodeProgress& progress) {
  const std::string unit = progress.unit.empty() ? "" : " " + progress.unit;
  if (progress.rate <= 0) return "";
  return progress.rate >= 1
             ? fmt::format("{:.3g}{}/s", progress.rate, unit)
             : fmt::format("{:.3g} s{}{}", 1 / progress.rate, progress.unit.empty() ? "" : "/", progress.unit);
}

std::string remaining_text(const NodeProgress& progress) {
  if (progress.rate <= 0 || progress.total <= progress.done) return "";
  return human_seconds(static_cast<double>(progress.total - progress.done) / progress.rate) + " left";
}

std::string metrics_text(const NodeProgress& progress) {
  std::string text;
  for (const auto& [name, value] : progress.metrics) {
    text += fmt::format("{}{} {:.4g}", text.empty() ? "" : ", ", name, value);
  }
  return text;
}

// What is said beside the bar, the most wanted first.
std::vector<std::string> details(const NodeProgress& progress) {
  std::vector<std::string> parts;
  for (const std::string& part : {remaining_text(progress), rate_text(progress), metrics_text(progress)}) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

}  // namespace

std::string bar(double share, int width) {
  const int inner = std::max(width - 2, 1);
  const int filled = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * inner));
  return "[" + std::string(static_cast<std::size_t>(filled), '#') +
         std::string(static_cast<std::size_t>(inner - filled), '.') + "]";
}

std::string fit(const std::string& text, int width) {
  std::string result;
  int columns = 0;
  for (const char c : text) {
    if (starts_character(c) && ++columns > width) break;
    result += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return result;
}

std::string progress_line(const NodeProgress& progress, int width) {
  std::string line = fmt::format("{:<{}}", fit(progress.name, kNameWidth), kNameWidth);
  if (progress.total > 0) {
    line += fmt::format(" {} {:3.0f}%", bar(share_of(progress), kBarWidth), 100 * share_of(progress));
  } else {
    line += fmt::format(" {:<{}}", human_seconds(progress.seconds), kBarWidth);
  }
  for (const std::string& part : details(progress)) {
    const std::string longer = line + "  " + part;
    if (static_cast<int>(longer.size()) > width) break;
    line = longer;
  }
  return fit(line, width);
}

std::string study_line(double share, const std::string& counts) {
  return fmt::format("{:<{}} {} {:3.0f}%  {}", "study", kNameWidth, bar(share, kBarWidth), 100 * share, counts);
}

std::string progress_sentence(const NodeProgress& progress) {
  std::string text = progress.name;
  if (progress.total > 0) {
    text += fmt::format(": {} of {}{} ({:.0f}%)", progress.done, progress.total,
                        progress.unit.empty() ? "" : " " + progress.unit, 100 * share_of(progress));
  } else {
    text += fmt::format(": running for {}", human_seconds(progress.seconds));
  }
  for (const std::string& part : details(progress)) text += ", " + part;
  return text;
}

}  // namespace colonnade::host
