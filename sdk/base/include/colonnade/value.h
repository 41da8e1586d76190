#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "colonnade/blob.h"
#include "colonnade/json.h"

namespace colonnade {

// One named part of a value: a type name, a document and named tensors. Everything that ops exchange is a Field: a model is
// type "model" with its configuration as document and its weights as tensors; a scalar is a document without tensors.
// Type names that the SDK defines: "scalar", "table", "record" (any document), "tensor" (one tensor named "tensor"),
// "tokens", "pictures" (see their headers), "model", "examples" (sdk/tensor). Plugins name their own "plugin/type".
struct Field {
  std::string type;
  Json document;
  std::map<std::string, Blob> tensors;
  // Plugins whose code is needed to understand this field (a model's architecture, its adapters). Not part of the content.
  std::set<std::string> carries;

  // SHA-256 of encode([type, document, [[name, blob hash], ...]]). Times, paths and host names have no place in it.
  Hash content_hash() const;
};

// The immutable result of an op: a record of named fields.
struct Value {
  std::map<std::string, Field> fields;

  const Field& at(const std::string& name) const;  // throws Error(input) naming the fields there are
};

enum class Better { higher, lower, neither };

// A metric (type "scalar"). `standard_error` is there where the metric has one; `per_example` (tensor, f64) lets
// comparisons pair on examples.
struct Scalar {
  double value = 0;
  std::int64_t n = 1;  // sample count
  std::optional<double> standard_error;
  std::string unit;
  Better better = Better::neither;
  std::vector<double> per_example;
};

Field to_field(const Scalar& scalar);
Scalar scalar_from(const Field& field);  // throws Error(input) on another type

// Typed columns of equal length (type "table"). Column types: "integer", "real", "text", "bool".
class Table {
 public:
  struct Column {
    std::string name;
    std::string type;
    std::string unit;
    Json cells = Json::array();
  };

  void add_column(std::string name, std::string type, std::string unit = "");
  void add_row(const std::vector<Json>& cells);  // throws Error(input) on wrong count or type
  std::size_t rows() const;
  const std::vector<Column>& columns() const { return columns_; }
  const Column& column(const std::string& name) const;  // throws Error(input) with the nearest name
  bool has_column(const std::string& name) const;

 private:
  friend Table table_from(const Field& field);
  std::vector<Column> columns_;
};

Field to_field(const Table& table);
Table table_from(const Field& field);

Field record_field(Json document);
Field tensor_field(Blob tensor);

}  // namespace colonnade
