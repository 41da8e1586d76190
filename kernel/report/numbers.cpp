#include "kernel/report/numbers.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

namespace colonnade::host {

namespace {

constexpr double smallest_plain = 1e-4, largest_plain = 1e9, grouped_from = 10'000;

std::string not_finite(double number) {
  if (std::isnan(number)) return "NaN";
  return number > 0 ? "inf" : "-inf";
}

std::string grouped(std::string digits) {
  const std::size_t start = digits.starts_with('-') ? 1 : 0;
  const std::size_t end = std::min(digits.find('.'), digits.size());
  for (std::size_t at = end; at > start + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

}  // namespace

std::string exact_number(double number) {
  return std::isfinite(number) ? fmt::format("{}", number) : not_finite(number);
}

std::string readable_number(double number, int digits) {
  if (!std::isfinite(number)) return not_finite(number);
  const double size = std::abs(number);
  if (size != 0 && (size < smallest_plain || size >= largest_plain)) return fmt::format("{:.{}e}", number, digits - 1);
  const int before_point = size < 1 ? 1 : static_cast<int>(std::floor(std::log10(size))) + 1;
  if (size >= grouped_from) return grouped(fmt::format("{:.0f}", number));
  if (number == std::floor(number)) return fmt::format("{:.0f}", number);
  const int leading_zeros = size < 1 && size > 0 ? static_cast<int>(-std::floor(std::log10(size))) - 1 : 0;
  const int decimals = std::max(0, digits - (size < 1 ? 0 : before_point) + leading_zeros);
  return fmt::format("{:.{}f}", number, decimals);
}

std::string readable_summary(const Summary& summary) {
  if (summary.n == 0) return "";
  constexpr double rounding = 1e-12;
  if (!summary.interval || summary.deviation <= rounding * std::abs(summary.mean)) return readable_number(summary.mean);
  constexpr int half_width_digits = 2;
  return readable_number(summary.mean) + " ± " +
         readable_number((summary.interval->high - summary.interval->low) / 2, half_width_digits);
}

Json json_number(double number) {
  if (std::isfinite(number)) return number;
  return not_finite(number);
}

}  // namespace colonnade::host
