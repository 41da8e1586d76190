#include "kernel/evaluate/progress_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernel/evaluate/system.h"

namespace colonnade::host {

namespace {

// Of name and bar. A terminal of 80 columns has room for the rate and a metric beside them.
constexpr int kNarrowest = 8;
constexpr int kWidestName = 24, kNamePercent = 22;
constexpr int kWidestBar = 22, kBarPercent = 18;

int name_width(int width) {
  return std::clamp(width * kNamePercent / 100, kNarrowest, kWidestName);
}

int bar_width(int width) {
  return std::clamp(width * kBarPercent / 100, kNarrowest, kWidestBar);
}

bool starts_character(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}

double share_of(const NodeProgress& progress) {
  if (progress.total <= 0) return 0;
  return std::clamp(static_cast<double>(progress.done) / static_cast<double>(progress.total), 0.0, 1.0);
}

// "steps" -> "step", "batches" -> "batch"
std::string one_of(const std::string& unit) {
  for (const std::string_view hissing : {"ches", "shes", "sses", "xes"}) {
    if (unit.ends_with(hissing)) return unit.substr(0, unit.size() - 2);
  }
  return unit.ends_with('s') ? unit.substr(0, unit.size() - 1) : unit;
}

std::string rate_text(const NodeProgress& progress) {
  const std::string unit = progress.unit.empty() ? "" : " " + progress.unit;
  if (progress.rate <= 0) return "";
  constexpr double whole = 100;  // from here on without decimals, rather than as 1e+03
  if (progress.rate >= whole) return fmt::format("{:.0f}{}/s", progress.rate, unit);
  return progress.rate >= 1
             ? fmt::format("{:.3g}{}/s", progress.rate, unit)
             : fmt::format("{:.3g} s{}{}", 1 / progress.rate, progress.unit.empty() ? "" : "/", one_of(progress.unit));
}

std::string remaining_text(const NodeProgress& progress) {
  if (progress.rate <= 0 || progress.total <= progress.done) return "";
  return human_seconds(static_cast<double>(progress.total - progress.done) / progress.rate) + " left";
}

// What is said beside the bar, the most wanted first.
std::vector<std::string> details(const NodeProgress& progress) {
  std::vector<std::string> parts;
  for (const std::string& part : {remaining_text(progress), rate_text(progress)}) {
    if (!part.empty()) parts.push_back(part);
  }
  for (const auto& [name, value] : progress.metrics) parts.push_back(fmt::format("{} {:.4g}", name, value));
  return parts;
}

// `line` and as many of `parts` as fit, whole ones.
std::string joined_line(std::string line, const std::vector<std::string>& parts, int width) {
  for (const std::string& part : parts) {
    if (static_cast<int>(line.size() + 2 + part.size()) > width) break;
    line += "  " + part;
  }
  return fit(line, width);
}

std::string opening(const std::string& name, int width) {
  const int columns = name_width(width);
  const std::string cut = fit(name, columns);
  int room = columns;
  for (const char c : cut) room -= starts_character(c) ? 1 : 0;
  return cut + std::string(static_cast<std::size_t>(room), ' ');
}

std::string share_text(double share, int width) {
  return fmt::format(" {} {:3.0f}%", bar(share, bar_width(width)), 100 * share);
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
  std::string line = opening(progress.name, width);
  line += progress.total > 0 ? share_text(share_of(progress), width)
                             : fmt::format(" {:<{}}", human_seconds(progress.seconds), bar_width(width));
  return joined_line(std::move(line), details(progress), width);
}

std::string study_line(double share, const std::vector<std::string>& parts, int width) {
  return joined_line(opening("study", width) + share_text(share, width), parts, width);
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
