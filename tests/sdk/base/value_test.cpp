#include "colonnade/value.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "colonnade/encode.h"
#include "colonnade/error.h"

using namespace colonnade;

TEST_CASE("a field's content is its type, document and tensors") {
  const Field field = tensor_field(Blob::of(DType::f32, std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}));
  const Hash hash = field.content_hash();
  // Made by an independent program from the written format.
  CHECK(hash.hex() == "ba2d6bab389739c247f2b8b9eb4db44cd07ad4a7cecf4cd77d561b8f9b78b372");

  Field changed = field;
  changed.type = "record";
  CHECK(changed.content_hash() != hash);
  changed = field;
  changed.document = 0;
  CHECK(changed.content_hash() != hash);
  changed = field;
  changed.tensors.emplace("other", Blob());
  CHECK(changed.content_hash() != hash);
  changed = field;
  changed.tensors = {{"renamed", field.tensors.at("tensor")}};
  CHECK(changed.content_hash() != hash);
  changed = field;
  changed.carries.insert("mamba");
  CHECK(changed.content_hash() == hash);
}

TEST_CASE("documents that print alike but differ have contents of their own") {
  CHECK(record_field(1).content_hash() != record_field(1.0).content_hash());
  CHECK(record_field(0.0).content_hash() != record_field(-0.0).content_hash());
  CHECK(record_field(Json::array({"ab", "c"})).content_hash() != record_field(Json::array({"a", "bc"})).content_hash());
}

TEST_CASE("a missing field is named beside those there are") {
  Value value;
  CHECK_THROWS_WITH(value.at("model"), "the value has no field 'model'. It has: none");
  value.fields.emplace("model", record_field(1));
  value.fields.emplace("log", record_field(2));
  CHECK(value.at("log").document == 2);
  CHECK_THROWS_WITH(value.at("modle"), "the value has no field 'modle'; did you mean 'model'? It has: log, model");
}

TEST_CASE("a scalar comes back as it was") {
  Scalar scalar;
  scalar.value = -0.0;
  scalar.n = 12;
  scalar.standard_error = 0.25;
  scalar.unit = "nats";
  scalar.better = Better::lower;
  scalar.per_example = {1.5, -2, std::numeric_limits<double>::infinity()};
  const Field field = to_field(scalar);
  CHECK(field.type == "scalar");
  CHECK(field.tensors.at("per_example").dtype() == DType::f64);
  const Scalar read = scalar_from(field);
  CHECK(std::signbit(read.value));
  CHECK(read.n == 12);
  CHECK(read.standard_error == 0.25);
  CHECK(read.unit == "nats");
  CHECK(read.better == Better::lower);
  CHECK(read.per_example == scalar.per_example);
}

TEST_CASE("a scalar without uncertainty has none, and may be no number") {
  Scalar scalar;
  scalar.value = std::nan("");
  const Field field = to_field(scalar);
  const Scalar read = scalar_from(Field{field.type, decode(encode(field.document)), field.tensors, {}});
  CHECK(std::isnan(read.value));
  CHECK_FALSE(read.standard_error.has_value());
  CHECK(read.per_example.empty());
  CHECK(read.better == Better::neither);
}

TEST_CASE("what is no scalar is refused") {
  CHECK_THROWS_WITH(scalar_from(record_field(1)), "a field of type 'record' was given where 'scalar' is needed");
  Field field = to_field(Scalar{});
  field.document.erase("n");
  CHECK_THROWS_WITH(scalar_from(field), "scalar: the document has no 'n'");
  field = to_field(Scalar{});
  field.document["value"] = "1";
  CHECK_THROWS_WITH(scalar_from(field), "scalar: the document has a 'value' that is no number");
  field = to_field(Scalar{});
  field.document["better"] = "bigger";
  CHECK_THROWS_WITH(scalar_from(field), "scalar: the document has better = 'bigger'; allowed: higher, lower, neither");
  field = to_field(Scalar{});
  field.document = 3;
  CHECK_THROWS_AS(scalar_from(field), Error);
  field = to_field(Scalar{});
  field.tensors.emplace("per_example", Blob::of(DType::f32, std::vector<float>{1}));
  CHECK_THROWS_WITH(scalar_from(field), "scalar: per_example is f32; allowed: f64");
}

namespace {

Table example_table() {
  Table table;
  table.add_column("step", "integer");
  table.add_column("loss", "real", "nats");
  table.add_column("arm", "text");
  table.add_column("kept", "bool");
  table.add_row({1, 2.5, "base", true});
  table.add_row({2, std::nan(""), nullptr, false});
  return table;
}

}  // namespace

TEST_CASE("a table comes back as it was") {
  const Field field = to_field(example_table());
  CHECK(field.type == "table");
  const Table table = table_from(field);
  CHECK(table.rows() == 2);
  REQUIRE(table.columns().size() == 4);
  CHECK(table.column("loss").unit == "nats");
  CHECK(table.column("loss").type == "real");
  CHECK(table.column("step").cells == Json::array({1, 2}));
  CHECK(std::isnan(table.column("loss").cells[1].get<double>()));
  CHECK(table.column("arm").cells[1].is_null());
  CHECK(to_field(table).content_hash() == field.content_hash());
  CHECK(table_from(to_field(Table())).rows() == 0);
}

TEST_CASE("a table's cells are what their columns say") {
  Table table = example_table();
  CHECK_THROWS_WITH(table.add_row({1.0, 2.5, "base", true}),
                    "table: row 2 has 1.0 in column 'step'; allowed: integer or null");
  CHECK_THROWS_WITH(table.add_row({1, 2, "base", true}), "table: row 2 has 2 in column 'loss'; allowed: real or null");
  CHECK_THROWS_WITH(table.add_row({1, 2.5, 3, true}), "table: row 2 has 3 in column 'arm'; allowed: text or null");
  CHECK_THROWS_WITH(table.add_row({1, 2.5, "base", 1}), "table: row 2 has 1 in column 'kept'; allowed: bool or null");
  CHECK_THROWS_WITH(table.add_row({1}), "table: row 2 has 1 cells where there are 4 columns");
  CHECK(table.rows() == 2);
  for (const Table::Column& column : table.columns()) CHECK(column.cells.size() == 2);
}

TEST_CASE("a table's columns are of known types, each once, before the first row") {
  Table table = example_table();
  CHECK_THROWS_WITH(table.add_column("late", "real"), "table: column 'late' was added after the first row");
  Table fresh;
  fresh.add_column("loss", "real");
  CHECK_THROWS_WITH(fresh.add_column("loss", "real"), "table: there are two columns 'loss'");
  CHECK_THROWS_WITH(fresh.add_column("x", "reel"),
                    "table: column 'x' has the type 'reel'; did you mean 'real'? allowed: integer, real, text, bool");
  CHECK(table.has_column("arm"));
  CHECK_FALSE(table.has_column("arms"));
  CHECK_THROWS_WITH(table.column("arms"),
                    "the table has no column 'arms'; did you mean 'arm'? It has: step, loss, arm, kept");
}

TEST_CASE("a damaged table is refused") {
  const Field good = to_field(example_table());
  Field field = good;
  field.document["columns"][1]["cells"].push_back(1.5);
  CHECK_THROWS_WITH(table_from(field), "table: column 'loss' has 3 cells where the first one has 2");
  field = good;
  field.document["columns"][0]["cells"][0] = "one";
  CHECK_THROWS_AS(table_from(field), Error);
  field = good;
  field.document["columns"][0].erase("cells");
  CHECK_THROWS_AS(table_from(field), Error);
  field = good;
  field.document["columns"][0] = 1;
  CHECK_THROWS_AS(table_from(field), Error);
  field = good;
  field.document = Json();
  CHECK_THROWS_AS(table_from(field), Error);
  CHECK_THROWS_AS(table_from(record_field(1)), Error);
}
