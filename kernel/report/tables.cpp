#include "kernel/report/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "colonnade/text.h"
#include "kernel/report/markdown_text.h"
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

// Whether a column is one of numbers, with what stands for them where there are none: it is then aligned to the right.
bool is_numeric(const TextTable& table, std::size_t column) {
  static const std::set<std::string> stand_ins = {"", "NaN", "inf", "-inf", "failed", "not finite"};
  return column > 0 && std::all_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
           const std::string& cell = row[column];
           const std::size_t digit = cell.find_first_not_of("-[");
           return stand_ins.contains(cell) || (digit != std::string::npos && cell[digit] >= '0' && cell[digit] <= '9');
         });
}

std::vector<bool> numeric_columns(const TextTable& table) {
  std::vector<bool> numeric;
  for (std::size_t i = 0; i < table.header.size(); ++i) numeric.push_back(is_numeric(table, i));
  return numeric;
}

std::string line_of(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths,
                    const std::vector<bool>& numeric, std::size_t first, std::size_t last) {
  std::string line = padded(cells[0], widths[0], true);
  for (std::size_t i = first; i < last; ++i) line += "  " + padded(cells[i], widths[i], !numeric[i]);
  while (line.ends_with(' ')) line.pop_back();
  return line + "\n";
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
  return cell.is_string() ? cell.get<std::string>() : json_text(cell);
}

const std::map<std::string, Scalar>& scalars_of(const TrialResult& trial, bool measured) {
  return measured ? trial.measured : trial.scalars;
}

bool has_one_seed(const StudyResults& results) {
  return std::all_of(results.trials.begin(), results.trials.end(),
                     [&](const TrialResult& trial) { return trial.seed == results.trials.front().seed; });
}

// A value under the study's only seed with the metric's own standard error.
std::string with_standard_error(const Scalar& scalar) {
  constexpr int error_digits = 2;
  return readable_number(scalar.value) +
         (scalar.standard_error ? " ± " + readable_number(*scalar.standard_error, error_digits) : "");
}

std::string arm_cell(const ArmTrials& trials, bool one_seed, const std::string& arm, const std::string& metric) {
  std::size_t seeds = 0, failed = 0, present = 0;
  const Scalar* last = nullptr;
  for (const TrialResult* trial : trials.of(arm)) {
    ++seeds;
    last = scalar_of(*trial, metric);
    present += last != nullptr;
    failed += !trial->failure.empty();
  }
  const Summary summary = summarise(trials.metric_by_seed(arm, metric));
  if (summary.n == 0) return present > 0 ? "not finite" : failed == seeds && seeds > 0 ? "failed" : "";
  if (seeds == 1 && one_seed) return with_standard_error(*last);
  const bool some_missing = summary.n < seeds && (present > summary.n || failed > 0);
  return readable_summary(summary) + (some_missing ? fmt::format(" ({} of {} seeds)", summary.n, seeds) : "");
}

bool is_real(const Table::Column& column) {
  return column.type == "real";
}

std::vector<std::string> header_of(const Table& table) {
  std::vector<std::string> header;
  for (const Table::Column& column : table.columns()) {
    header.push_back(column.unit.empty() ? column.name : column.name + " (" + column.unit + ")");
  }
  return header;
}

bool same_but_reals(const Table& a, const Table& b) {
  if (a.rows() != b.rows() || a.columns().size() != b.columns().size()) return false;
  for (std::size_t i = 0; i < a.columns().size(); ++i) {
    const Table::Column &left = a.columns()[i], &right = b.columns()[i];
    if (left.name != right.name || left.type != right.type || (!is_real(left) && left.cells != right.cells))
      return false;
  }
  return true;
}

std::string mean_cell(const std::vector<const Table*>& tables, std::size_t column, std::size_t row) {
  std::vector<double> numbers;
  for (const Table* table : tables) {
    const Json& cell = table->columns()[column].cells[row];
    if (cell.is_number() && std::isfinite(cell.get<double>())) numbers.push_back(cell.get<double>());
  }
  if (numbers.size() < tables.size()) return readable_cell(tables.front()->columns()[column].cells[row]);
  const bool all_same =
      std::all_of(numbers.begin(), numbers.end(), [&](double number) { return number == numbers.front(); });
  return all_same ? readable_number(numbers.front()) : readable_summary(summarise(numbers));
}

}  // namespace

std::string as_text(const TextTable& table, int width) {
  const auto widths = widths_of(table);
  const auto numeric = numeric_columns(table);
  std::string out;
  // As many columns side by side as fit; the rest below, under the first column again.
  std::size_t first = 1;
  while (first < table.header.size()) {
    std::size_t last = first, used = widths[0];
    while (last < table.header.size() &&
           (last == first || used + 2 + widths[last] <= static_cast<std::size_t>(width))) {
      used += 2 + widths[last++];
    }
    if (!out.empty()) out += "\n";
    out += line_of(table.header, widths, numeric, first, last);
    for (const auto& row : table.rows) out += line_of(row, widths, numeric, first, last);
    first = last;
  }
  return out;
}

std::string as_markdown(const TextTable& table) {
  std::string out = "|";
  for (const std::string& name : table.header) out += " " + escaped_markdown(name) + " |";
  out += "\n|";
  for (const bool numeric : numeric_columns(table)) out += numeric ? " ---: |" : " --- |";
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

void drop_empty_columns(TextTable& table) {
  for (std::size_t column = table.header.size(); column-- > 0;) {
    if (std::any_of(table.rows.begin(), table.rows.end(), [&](const auto& row) { return !row[column].empty(); }))
      continue;
    const auto at = static_cast<std::ptrdiff_t>(column);
    table.header.erase(table.header.begin() + at);
    for (auto& row : table.rows) row.erase(row.begin() + at);
  }
}

std::vector<std::string> scalar_metrics(const StudyResults& results, bool measured) {
  std::set<std::string> names;
  for (const TrialResult& trial : results.trials) {
    for (const auto& [name, scalar] : scalars_of(trial, measured)) names.insert(name);
  }
  return {names.begin(), names.end()};
}

StudyResults without_measured_cells(const StudyResults& results) {
  const auto plain = scalar_metrics(results, false);
  std::set<std::string> plain_tables;
  for (const TrialResult& trial : results.trials) {
    for (const auto& [name, table] : trial.tables) plain_tables.insert(name);
  }
  StudyResults copy = results;
  for (TrialResult& trial : copy.trials) {
    for (const std::string& metric : plain) trial.measured.erase(metric);
    for (const std::string& name : plain_tables) trial.measured_tables.erase(name);
  }
  return copy;
}

StudyResults measured_arms(const StudyResults& results) {
  std::set<std::string> arms;
  for (const TrialResult& trial : results.trials) {
    if (!trial.measured.empty()) arms.insert(trial.arm);
  }
  StudyResults copy = results;
  std::erase_if(copy.arm_order, [&](const std::string& arm) { return !arms.contains(arm); });
  return copy;
}

ArmTrials::ArmTrials(const StudyResults& results) {
  for (const TrialResult& trial : results.trials) by_arm_[trial.arm].push_back(&trial);
}

const std::vector<const TrialResult*>& ArmTrials::of(const std::string& arm) const {
  static const std::vector<const TrialResult*> none;
  const auto found = by_arm_.find(arm);
  return found == by_arm_.end() ? none : found->second;
}

std::vector<double> ArmTrials::metric_by_seed(const std::string& arm, const std::string& metric) const {
  std::vector<double> numbers;
  for (const TrialResult* trial : of(arm)) {
    const Scalar* scalar = scalar_of(*trial, metric);
    if (scalar != nullptr && std::isfinite(scalar->value)) numbers.push_back(scalar->value);
  }
  return numbers;
}

const Scalar* scalar_of(const TrialResult& trial, const std::string& metric) {
  for (const bool measured : {false, true}) {
    const auto found = scalars_of(trial, measured).find(metric);
    if (found != scalars_of(trial, measured).end()) return &found->second;
  }
  return nullptr;
}

Better better_of(const StudyResults& results, const std::string& metric) {
  for (const TrialResult& trial : results.trials) {
    if (const Scalar* scalar = scalar_of(trial, metric)) return scalar->better;
  }
  return Better::neither;
}

std::string metric_title(const StudyResults& results, const std::string& metric) {
  for (const TrialResult& trial : results.trials) {
    const Scalar* scalar = scalar_of(trial, metric);
    if (scalar == nullptr) continue;
    const char* good = scalar->better == Better::lower ? " ↓" : scalar->better == Better::higher ? " ↑" : "";
    return metric + (scalar->unit.empty() || scalar->unit == metric ? "" : " (" + scalar->unit + ")") + good;
  }
  return metric;
}

TextTable arms_table(const StudyResults& results, const std::vector<std::string>& metrics) {
  TextTable table;
  table.header.push_back("arm");
  for (const std::string& metric : metrics) table.header.push_back(metric_title(results, metric));
  const ArmTrials trials(results);
  const bool one_seed = has_one_seed(results);
  for (const std::string& arm : results.arm_order) {
    std::vector<std::string> row = {arm};
    for (const std::string& metric : metrics) row.push_back(arm_cell(trials, one_seed, arm, metric));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string arms_table_note(const StudyResults& results, const std::vector<std::string>& metrics) {
  bool any_error = false, any_direction = false;
  for (const TrialResult& trial : results.trials) {
    for (const std::string& metric : metrics) {
      const Scalar* scalar = scalar_of(trial, metric);
      any_error = any_error || (scalar != nullptr && scalar->standard_error);
      any_direction = any_direction || (scalar != nullptr && scalar->better != Better::neither);
    }
  }
  std::string note;
  if (!has_one_seed(results)) {
    note = "Mean over seeds ± half the width of its 95 % interval (Student's t); without ± the same under every seed.";
    if (any_error) note += " Each trial's own standard errors are in the CSV file.";
  } else {
    note = any_error ? "One seed: value ± the metric's own standard error; without ± it has none." : "One seed.";
  }
  return note + (any_direction ? " ↓ lower is better, ↑ higher is better." : "") + "\n";
}

TextTable shared_table(const StudyResults& results, bool measured) {
  TextTable table{{"name", "value", "n", "standard error"}, {}};
  for (const auto& [name, scalar] : scalars_of(results.shared, measured)) {
    table.rows.push_back({name, readable_number(scalar.value) + (scalar.unit.empty() ? "" : " " + scalar.unit),
                          readable_number(static_cast<double>(scalar.n)),
                          scalar.standard_error ? readable_number(*scalar.standard_error, 2) : ""});
  }
  return table;
}

TextTable readable(const Table& table, std::size_t most_rows) {
  TextTable text;
  text.header = header_of(table);
  for (std::size_t row = 0; row < std::min(most_rows, table.rows()); ++row) {
    std::vector<std::string> cells;
    for (const Table::Column& column : table.columns()) cells.push_back(readable_cell(column.cells[row]));
    text.rows.push_back(std::move(cells));
  }
  return text;
}

std::optional<TextTable> readable_over_seeds(const std::vector<const Table*>& tables, std::size_t most_rows) {
  const Table& first = *tables.front();
  for (const Table* table : tables) {
    if (!same_but_reals(first, *table)) return std::nullopt;
  }
  TextTable text = readable(first, most_rows);
  for (std::size_t column = 0; column < first.columns().size(); ++column) {
    if (!is_real(first.columns()[column])) continue;
    for (std::size_t row = 0; row < text.rows.size(); ++row) text.rows[row][column] = mean_cell(tables, column, row);
  }
  return text;
}

}  // namespace colonnade::host
