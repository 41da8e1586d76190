// Tables of what a study saw and decided.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "colonnade/colonnade.h"

namespace colonnade {
namespace {

/// The number that the whole text is; nothing for other texts, "nan" and "inf" among them.
std::optional<double> number_of(const std::string& text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || !std::isfinite(number)) return std::nullopt;
  return number;
}

/// A column of numbers if every cell that is not empty is one, and there is one.
bool is_numeric(const std::vector<std::string>& cells, std::size_t column, std::size_t columns) {
  bool any = false;
  for (std::size_t i = column; i < cells.size(); i += columns) {
    if (cells[i].empty()) continue;
    if (!number_of(cells[i])) return false;
    any = true;
  }
  return any;
}

Value write_note(OpContext& context) {
  const auto columns = context.param<std::vector<std::string>>("columns");
  const auto cells = context.param<std::vector<std::string>>("cells");
  if (columns.empty()) throw Error(ErrorKind::usage, "'columns' is empty: a table has at least one");
  if (cells.size() % columns.size() != 0) {
    throw Error(ErrorKind::usage, "'cells' has " + std::to_string(cells.size()) +
                                      " texts, which are no whole rows of " + std::to_string(columns.size()));
  }
  Table table;
  std::vector<bool> numeric;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (std::count(columns.begin(), columns.end(), columns[i]) > 1) {
      throw Error(ErrorKind::usage, "'columns' has '" + columns[i] + "' twice");
    }
    numeric.push_back(is_numeric(cells, i, columns.size()));
    table.add_column(columns[i], numeric.back() ? "real" : "text");
  }
  for (std::size_t first = 0; first < cells.size(); first += columns.size()) {
    std::vector<Json> row;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::string& cell = cells[first + i];
      row.push_back(!numeric[i] ? Json(cell) : cell.empty() ? Json() : Json(*number_of(cell)));
    }
    table.add_row(row);
  }
  Value value;
  value.fields["note"] = to_field(table);
  return value;
}

/// Of a - b: by example where both have as many, else as if independent.
std::optional<double> error_of_change(const Scalar& a, const Scalar& b) {
  const std::size_t count = a.per_example.size();
  if (count > 1 && count == b.per_example.size()) {
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < count; ++i) sum += a.per_example[i] - b.per_example[i];
    const double n = static_cast<double>(count), mean = sum / n;
    for (std::size_t i = 0; i < count; ++i) squares += std::pow(a.per_example[i] - b.per_example[i] - mean, 2);
    return std::sqrt(squares / (n - 1) / n);
  }
  if (!a.standard_error || !b.standard_error) return std::nullopt;
  return std::hypot(*a.standard_error, *b.standard_error);
}

Json finite_or_none(std::optional<double> number) {
  return number && std::isfinite(*number) ? Json(*number) : Json();
}

Value list_stepwise(OpContext& context) {
  const auto names = context.param<std::vector<std::string>>("names");
  std::vector<Scalar> values;
  for (const Field* field : context.inputs("values")) values.push_back(scalar_from(*field));
  if (names.size() != values.size()) {
    throw Error(ErrorKind::usage, "'names' has " + std::to_string(names.size()) + " texts for " +
                                      std::to_string(values.size()) + " 'values'");
  }
  const std::string unit = values.empty() ? "" : values.front().unit;
  Table table;
  table.add_column("step", "integer");
  table.add_column("name", "text");
  for (const char* name : {"value", "error", "change", "change_error"}) table.add_column(name, "real", unit);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::optional<double> change, error;
    if (i > 0) {
      change = values[i].value - values[i - 1].value;
      error = error_of_change(values[i], values[i - 1]);
    }
    table.add_row({static_cast<std::int64_t>(i), names[i], finite_or_none(values[i].value),
                   finite_or_none(values[i].standard_error), finite_or_none(change), finite_or_none(error)});
  }
  Value value;
  value.fields["table"] = to_field(table);
  return value;
}

void register_plugin(Registrar& registrar) {
  registrar.op("note")
      .doc(
          "Makes a table of what a study says.\n"
          "An adaptive arm decides by values; this is how its decisions reach the report. Cells come row by row; a "
          "column "
          "all of whose cells are numbers, or empty, is one of numbers, any other of texts.")
      .example(
          "local told = col.note { columns = { \"stage\", \"reason\" }, cells = { \"dare\", \"retention fell\" } }")
      .output("note", "table", "the table")
      .param(list("columns", ParamType::string, "names of the columns"))
      .param(list("cells", ParamType::string, "its cells, row by row").fall_back(Json::array()))
      .run(write_note);
  registrar.op("stepwise")
      .doc(
          "Lists what a number was after each step of a chain, and by how much each step changed it.\n"
          "The error of a change is of the differences by example where the numbers are over as many examples, else "
          "as if "
          "they were independent.")
      .example("local profile = col.stepwise { names = { \"start\", \"dare\" }, values = { before.top1, after.top1 } }")
      .many_input("values", "scalar", "the number at the start and after each step")
      .output("table", "table",
              "for each step: name, value, standard error, change from the step before with its error")
      .param(list("names", ParamType::string, "of the steps, as many as values"))
      .run(list_stepwise);
}

}  // namespace
}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
