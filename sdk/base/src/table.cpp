#include <algorithm>

#include "colonnade/error.h"
#include "colonnade/text.h"
#include "colonnade/value.h"

namespace colonnade {
namespace {

const std::vector<std::string>& cell_types() {
  static const std::vector<std::string> types = {"integer", "real", "text", "bool"};
  return types;
}

bool fits(const Json& cell, const std::string& type) {
  if (cell.is_null()) return true;
  if (type == "integer") return cell.is_number_integer();
  if (type == "real") return cell.is_number_float();
  if (type == "text") return cell.is_string();
  return cell.is_boolean();
}

void require_fit(const Json& cell, const Table::Column& column, std::size_t row) {
  if (fits(cell, column.type)) return;
  throw Error(ErrorKind::input, "table: row " + std::to_string(row) + " has " + shown(cell) + " in column '" +
                                    column.name + "'; allowed: " + column.type + " or null");
}

std::string text_entry(const Json& document, const char* name) {
  const auto found = document.find(name);
  if (found != document.end() && found->is_string()) return found->get<std::string>();
  throw Error(ErrorKind::input, std::string("table: a column of the document has no text '") + name + "'");
}

}  // namespace

void Table::add_column(std::string name, std::string type, std::string unit) {
  const auto& types = cell_types();
  if (std::find(types.begin(), types.end(), type) == types.end()) {
    const std::string meant = did_you_mean(type, types);
    throw Error(ErrorKind::input, "table: column '" + name + "' has the type '" + type + "'" +
                                      (meant.empty() ? ";" : meant) + " allowed: integer, real, text, bool");
  }
  if (has_column(name)) throw Error(ErrorKind::input, "table: there are two columns '" + name + "'");
  if (rows() > 0) throw Error(ErrorKind::input, "table: column '" + name + "' was added after the first row");
  columns_.push_back({std::move(name), std::move(type), std::move(unit), Json::array()});
}

void Table::add_row(const std::vector<Json>& cells) {
  if (cells.size() != columns_.size()) {
    throw Error(ErrorKind::input, "table: row " + std::to_string(rows()) + " has " + std::to_string(cells.size()) +
                                      " cells where there are " + std::to_string(columns_.size()) + " columns");
  }
  for (std::size_t i = 0; i < cells.size(); ++i) require_fit(cells[i], columns_[i], rows());
  for (std::size_t i = 0; i < cells.size(); ++i) columns_[i].cells.push_back(cells[i]);
}

std::size_t Table::rows() const {
  return columns_.empty() ? 0 : columns_.front().cells.size();
}

const Table::Column& Table::column(const std::string& name) const {
  std::vector<std::string> names;
  std::string listed;
  for (const Column& column : columns_) {
    if (column.name == name) return column;
    names.push_back(column.name);
    listed += (listed.empty() ? "" : ", ") + column.name;
  }
  const std::string meant = did_you_mean(name, names);
  throw Error(ErrorKind::input, "the table has no column '" + name + "'" + (meant.empty() ? "." : meant) +
                                    " It has: " + (listed.empty() ? "none" : listed));
}

bool Table::has_column(const std::string& name) const {
  return std::any_of(columns_.begin(), columns_.end(), [&](const Column& column) { return column.name == name; });
}

Field to_field(const Table& table) {
  Json columns = Json::array();
  for (const Table::Column& column : table.columns()) {
    Json entry = Json::object();
    entry["name"] = column.name;
    entry["type"] = column.type;
    entry["unit"] = column.unit;
    entry["cells"] = column.cells;
    columns.push_back(std::move(entry));
  }
  Field field;
  field.type = "table";
  field.document = Json::object();
  field.document["columns"] = std::move(columns);
  return field;
}

Table table_from(const Field& field) {
  if (field.type != "table") {
    throw Error(ErrorKind::input, "a field of type '" + field.type + "' was given where 'table' is needed");
  }
  const auto columns = field.document.find("columns");
  if (columns == field.document.end() || !columns->is_array()) {
    throw Error(ErrorKind::input, "table: the document has no list 'columns'");
  }
  Table table;
  for (const Json& entry : *columns) {
    table.add_column(text_entry(entry, "name"), text_entry(entry, "type"), text_entry(entry, "unit"));
  }
  for (std::size_t i = 0; i < table.columns_.size(); ++i) {
    Table::Column& column = table.columns_[i];
    const auto cells = (*columns)[i].find("cells");
    if (cells == (*columns)[i].end() || !cells->is_array()) {
      throw Error(ErrorKind::input, "table: column '" + column.name + "' has no list 'cells'");
    }
    for (std::size_t row = 0; row < cells->size(); ++row) require_fit((*cells)[row], column, row);
    column.cells = *cells;
    if (column.cells.size() != table.rows()) {
      throw Error(ErrorKind::input, "table: column '" + column.name + "' has " + std::to_string(column.cells.size()) +
                                        " cells where the first one has " + std::to_string(table.rows()));
    }
  }
  return table;
}

}  // namespace colonnade
