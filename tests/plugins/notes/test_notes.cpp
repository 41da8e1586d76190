#include <catch2/catch.hpp>
#include <cmath>

#include "colonnade/error.h"
#include "colonnade/run_op.h"
#include "tests/support/plugins.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

Table run(const std::string& op, Json params, const std::vector<Scalar>& values = {}) {
  register_linked_plugin(colonnade_plugin);
  std::vector<std::pair<std::string, Field>> inputs;
  for (const Scalar& value : values) inputs.emplace_back("values", to_field(value));
  RunRequest request;
  request.op = "notes/" + op;
  request.params = std::move(params);
  request.inputs = std::move(inputs);
  const Value value = run_op(request);
  return table_from(value.fields.begin()->second);
}

std::string error_of(const std::string& op, Json params, const std::vector<Scalar>& values = {}) {
  try {
    run(op, std::move(params), values);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("cells make rows; columns of nothing but numbers are numbers, empty ones missing") {
  const Table table = run("note", {{"columns", {"stage", "kept", "note"}},
                                   {"cells", {"dare", "0.25", "", "nullu", "", "3", "edit", "1e-3", "x"}}});
  CHECK(table.column("stage").type == "text");
  CHECK(table.column("kept").type == "real");
  CHECK(table.column("kept").cells == Json({0.25, nullptr, 1e-3}));
  CHECK(table.column("note").cells == Json({"", "3", "x"}));
  const Table empty = run("note", {{"columns", {"stage"}}});
  CHECK(empty.rows() == 0);
  CHECK(empty.column("stage").type == "text");
  CHECK(run("note", {{"columns", {"a"}}, {"cells", {"nan", "1"}}}).column("a").type == "text");
}

TEST_CASE("a note that is no table says what is wrong") {
  CHECK_THAT(error_of("note", {{"columns", {"a", "b"}}, {"cells", {"1", "2", "3"}}}), Contains("no whole rows of 2"));
  CHECK_THAT(error_of("note", {{"columns", Json::array()}}), Contains("'columns' is empty"));
  CHECK_THAT(error_of("note", {{"columns", {"a", "a"}}}), Contains("'a' twice"));
}

TEST_CASE("steps hold values and their changes, paired by example") {
  Scalar start, after, last;
  start.per_example = {1, 0, 1, 1}, after.per_example = {1, 0, 0, 1};
  start.value = 0.75, start.standard_error = 0.25, start.unit = "share";
  after.value = 0.5, after.standard_error = 0.3;
  last.value = 0.25, last.standard_error = 0.4;
  const Table table = run("stepwise", {{"names", {"start", "dare", "edit"}}}, {start, after, last});
  CHECK(table.column("value").unit == "share");
  CHECK(table.column("step").cells == Json({0, 1, 2}));
  CHECK(table.column("change").cells == Json({nullptr, -0.25, -0.25}));
  // Differences 0, 0, -1, 0: squares about the mean 0.75, over 3 and 4.
  CHECK(table.column("change_error").cells.at(1).get<double>() == Approx(0.25));
  CHECK(table.column("change_error").cells.at(2).get<double>() == Approx(0.5));
  CHECK(table.column("change_error").cells.at(0).is_null());

  last.value = std::nan("");
  const Table broken = run("stepwise", {{"names", {"a", "b"}}}, {start, last});
  CHECK(broken.column("value").cells.at(1).is_null());
  CHECK(broken.column("change").cells.at(1).is_null());
  CHECK_THAT(error_of("stepwise", {{"names", {"a"}}}, {start, last}), Contains("'names' has 1 texts for 2 'values'"));
}

}  // namespace colonnade
