#include "kernel/report/plot_cells.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "colonnade/text.h"

namespace colonnade::host {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool has_digit(const Json& cell) {
  const std::string text = cell_text(cell);
  return std::any_of(text.begin(), text.end(), is_digit);
}

// The end of the number, or of the single character, that starts at `at`.
std::size_t piece_end(const std::string& text, std::size_t at) {
  if (!is_digit(text[at])) return at + 1;
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

// layers.2 before layers.10.
bool natural_less(const Json& left_cell, const Json& right_cell) {
  const std::string left = cell_text(left_cell), right = cell_text(right_cell);
  std::size_t i = 0, j = 0;
  while (i < left.size() && j < right.size()) {
    const std::size_t i_end = piece_end(left, i), j_end = piece_end(right, j);
    const std::string a = left.substr(i, i_end - i), b = right.substr(j, j_end - j);
    const bool numbers = is_digit(a[0]) && is_digit(b[0]);
    if (numbers && a.size() != b.size()) return a.size() < b.size();
    if (a != b) return a < b;
    i = i_end;
    j = j_end;
  }
  return left.size() - i < right.size() - j;
}

}  // namespace

std::string key_of(const Json& cell) {
  return json_text(cell);
}

std::string cell_text(const Json& cell) {
  if (cell.is_string()) return cell.get<std::string>();
  if (cell.is_boolean()) return cell.get<bool>() ? "yes" : "no";
  if (cell.is_number()) return fmt::format("{:.6g}", cell.get<double>());
  return cell.is_null() ? "none" : key_of(cell);
}

AxisReader::AxisReader(const PlotRows& rows, const std::string& column, bool as_categories) : column_(column) {
  numeric_ = !as_categories && std::all_of(rows.rows.begin(), rows.rows.end(), [&](const PlotRow& row) {
    const Json& cell = row.cells.at(column);
    return cell.is_null() || cell.is_number();
  });
  if (numeric_) return;
  std::vector<Json> cells;
  for (const PlotRow& row : rows.rows) {
    const Json& cell = row.cells.at(column);
    if (!cell.is_null() && std::find(cells.begin(), cells.end(), cell) == cells.end()) cells.push_back(cell);
  }
  const bool sortable = std::all_of(cells.begin(), cells.end(), [](const Json& cell) { return cell.is_number(); });
  if (sortable) std::sort(cells.begin(), cells.end());
  if (column != "arm" && !sortable && std::any_of(cells.begin(), cells.end(), has_digit)) {
    std::stable_sort(cells.begin(), cells.end(), natural_less);
  }
  texts_ = !sortable;
  for (const Json& cell : cells) {
    positions_.emplace(key_of(cell), static_cast<double>(categories_.size()));
    categories_.push_back(cell_text(cell));
  }
}

double AxisReader::operator()(const PlotRow& row) const {
  const Json& cell = row.cells.at(column_);
  if (cell.is_null()) return std::numeric_limits<double>::quiet_NaN();
  return numeric_ ? cell.get<double>() : positions_.at(key_of(cell));
}

}  // namespace colonnade::host
