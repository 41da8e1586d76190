#include "kernel/report/tables.h"

#include <algorithm>
#include <set>

#include "kernel/report/numbers.h"

namespace colonnade::host {

namespace {

// Columns that a terminal would give the text: one a code point, which suffices for what reports print.
std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width, bool left) {
  const std::string space(width > columns_of(text) ? width - columns_of(text) : 0, ' ');
  return left ? text + space : space + text;
}

std::vector<std::size_t> widths_of(const TextTable& table) {
  std::vector<std::size_t> widths;
  for (const std::string& name : table.header) widths.push_back(columns_of(name));
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i]));
  }
  return widths;
}

std::string line_of(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths, std::size_t first,
                    std::size_t last) {
  std::string line = padded(cells[0], widths[0], true);
  for (std::size_t i = first; i < last; ++i) line += "  " + padded(cells[i], widths[i], false);
  while (line.ends_with(' ')) line.pop_back();
  return line + "\n";
}

std::string escaped_markdown(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '\\' || c == '`' || c == '*' || c == '_' || c == '<') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string quoted_csv(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string readable_cell(const Json& cell) {
  if (cell.is_null()) return "";
  if (cell.is_number_float()) return readable_number(cell.get<double>());
  if (cell.is_number_integer()) return readable_number(cell.get<double>());
  if (cell.is_boolean()) return cell.get<bool>() ? "yes" : "no";
  return cell.is_string() ? cell.get<std::string>() : cell.dump();
}

const std::map<std::string, Scalar>& scalars_of(const TrialResult& trial, bool measured) {
  return measured ? trial.measured : trial.scalars;
}

}  // namespace

std::string as_text(const TextTable& table, int width) {
  const auto widths = widths_of(table);
  std::string out;
  // As many columns side by side as fit; the rest below, under the first column again.
  std::size_t first = 1;
  while (first < table.header.size()) {
    std::size_t last = first, used = widths[0];
    while (last < table.header.size() && (last == first || used + 2 + widths[last] <= static_cast<std::size_t>(width))) {
      used += 2 + widths[last++];
    }
    if (!out.empty()) out += "\n";
    out += line_of(table.header, widths, first, last);
    for (const auto& row : table.rows) out += line_of(row, widths, first, last);
    first = last;
  }
  return out;
}

std::string as_markdown(const TextTable& table) {
  std::string out = "|";
  for (const std::string& name : table.header) out += " " + escaped_markdown(name) + " |";
  out += "\n|";
  for (std::size_t i = 0; i < table.header.size(); ++i) out += i == 0 ? " --- |" : " ---: |";
  out += "\n";
  for (const auto& row : table.rows) {
    out += "|";
    for (const std::string& cell : row) out += " " + escaped_markdown(cell) + " |";
    out += "\n";
  }
  return out;
}

std::string as_csv(const TextTable& table) {
  std::string out;
  const auto add = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) out += (i == 0 ? "" : ",") + quoted_csv(cells[i]);
    out += "\n";
  };
  add(table.header);
  for (const auto& row : table.rows) add(row);
  return out;
}

std::vector<std::string> scalar_metrics(const StudyResults& results, bool measured) {
  std::set<std::string> names;
  for (const TrialResult& trial : results.trials) {
    for (const auto& [name, scalar] : scalars_of(trial, measured)) names.insert(name);
  }
  return {names.begin(), names.end()};
}

std::vector<double> metric_by_seed(const StudyResults& results, const std::string& arm, const std::string& metric) {
  std::vector<double> numbers;
  for (const TrialResult& trial : results.trials) {
    if (trial.arm != arm) continue;
    const auto plain = trial.scalars.find(metric);
    const auto measured = trial.measured.find(metric);
    if (plain != trial.scalars.end()) numbers.push_back(plain->second.value);
    if (plain == trial.scalars.end() && measured != trial.measured.end()) numbers.push_back(measured->second.value);
  }
  return numbers;
}

TextTable arms_table(const StudyResults& results, const std::vector<std::string>& metrics) {
  TextTable table;
  table.header.push_back("arm");
  table.header.insert(table.header.end(), metrics.begin(), metrics.end());
  for (const std::string& arm : results.arm_order) {
    std::vector<std::string> row = {arm};
    for (const std::string& metric : metrics) row.push_back(readable_summary(summarise(metric_by_seed(results, arm, metric))));
    table.rows.push_back(std::move(row));
  }
  return table;
}

TextTable shared_table(const StudyResults& results) {
  TextTable table{{"value", "", "n", "standard error"}, {}};
  for (const auto& [name, scalar] : results.shared.scalars) {
    table.rows.push_back({name, readable_number(scalar.value) + (scalar.unit.empty() ? "" : " " + scalar.unit),
                          readable_number(static_cast<double>(scalar.n)),
                          scalar.standard_error ? readable_number(*scalar.standard_error, 2) : ""});
  }
  return table;
}

TextTable readable(const Table& table, std::size_t most_rows) {
  TextTable text;
  for (const Table::Column& column : table.columns()) {
    text.header.push_back(column.unit.empty() ? column.name : column.name + " (" + column.unit + ")");
  }
  for (std::size_t row = 0; row < std::min(most_rows, table.rows()); ++row) {
    std::vector<std::string> cells;
    for (const Table::Column& column : table.columns()) cells.push_back(readable_cell(column.cells[row]));
    text.rows.push_back(std::move(cells));
  }
  return text;
}

}  // namespace colonnade::host
