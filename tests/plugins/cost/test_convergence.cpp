#include <catch2/catch.hpp>
#include <cmath>

#include "tests/plugins/cost/cost_support.h"

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

// Rows of step and validation loss; a negative loss stands for no evaluation.
Field curve(const std::vector<std::pair<std::int64_t, double>>& rows) {
  Table table;
  table.add_column("step", "integer");
  table.add_column("ce", "real", "nats");
  table.add_column("valid_nats", "real", "nats");
  for (const auto& [step, loss] : rows) table.add_row({step, 3.0, loss < 0 ? Json() : Json(loss)});
  return to_field(table);
}

// The best is 2.0, so with a tolerance of 1 % the goal is 2.02.
const std::vector<std::pair<std::int64_t, double>> full = {{1, -1}, {10, 2.5}, {20, 2.02}, {30, 2.0}, {40, 2.01}};

Value converge(const std::vector<Field>& curves, const Field& reference, Json params = Json::object()) {
  register_linked_plugin(colonnade_plugin);
  small::Inputs inputs = {{"reference", reference}};
  for (const Field& each : curves) inputs.emplace_back("curves", each);
  return small::run("cost/convergence", std::move(params), inputs);
}

double seconds(const std::vector<Field>& curves, const std::vector<double>& rates) {
  register_linked_plugin(colonnade_plugin);
  small::Inputs inputs = {{"reference", curve(full)}};
  for (const Field& each : curves) inputs.emplace_back("curves", each);
  for (const double rate : rates) {
    inputs.emplace_back("seconds_per_step", to_field(Scalar{rate, 4, {}, "s", Better::lower, {}}));
  }
  return cost::number(small::run("cost/convergence_time", Json::object(), inputs), "seconds");
}

}  // namespace

TEST_CASE("a training converges at its first evaluation at or below the reference's best and 1 %") {
  const Value itself = converge({curve(full)}, curve(full));
  CHECK(cost::number(itself, "steps") == 20);
  CHECK(cost::number(itself, "reached") == 1);
  CHECK(cost::number(itself, "goal") == 2.0 * 1.01);
  CHECK(cost::number(itself, "best") == 2.0);
  CHECK(cost::number(converge({curve(full)}, curve(full), {{"tolerance", 0}}), "steps") == 30);
  CHECK(cost::number(converge({curve({{5, 1.9}, {10, 1.0}})}, curve(full)), "steps") == 5);
}

TEST_CASE("phases count through, those without an evaluation by their steps") {
  const Field probe = curve({{1, -1}, {7, -1}});
  const Value late =
      converge({curve({{6, 2.3}, {12, 2.2}}), probe, curve({{4, 2.1}, {8, 2.015}, {9, 2.0}})}, curve(full));
  CHECK(cost::number(late, "steps") == 12 + 7 + 8);
  CHECK(cost::number(late, "best") == 2.0);
  const Table joined = table_from(late.at("curve"));
  CHECK(joined.column("step").cells == Json({6, 12, 13, 19, 23, 27, 28}));
  CHECK(joined.column("phase").cells == Json({1, 1, 2, 2, 3, 3, 3}));
  CHECK(joined.column("valid_nats").cells == Json({2.3, 2.2, nullptr, nullptr, 2.1, 2.015, 2.0}));
  // Met in the first phase, whatever follows.
  CHECK(cost::number(converge({curve({{6, 2.0}, {12, 2.2}}), probe, curve({{4, 1.5}})}, curve(full)), "steps") == 6);
}

TEST_CASE("what never comes down to the goal has no number, over no sample") {
  const Value never = converge({curve({{10, 2.4}, {20, 2.1}})}, curve(full));
  CHECK(std::isnan(cost::number(never, "steps")));
  CHECK(scalar_from(never.at("steps")).n == 0);
  CHECK(cost::number(never, "reached") == 0);
  CHECK(cost::number(never, "best") == 2.1);
  CHECK(std::isnan(seconds({curve({{10, 2.4}})}, {0.5})));
  CHECK_THAT(small::error_of([] {
               converge({curve(full)}, curve({{10, -1}}));
             }),
             Contains("the reference was never evaluated"));
}

TEST_CASE("seconds are each phase's steps at that phase's rate") {
  const Field masks = curve({{12, 2.2}}), probe = curve({{7, -1}}), tuned = curve({{4, 2.1}, {8, 2.0}, {9, 1.9}});
  CHECK(seconds({masks, probe, tuned}, {0.5, 0.25, 2}) == 12 * 0.5 + 7 * 0.25 + 8 * 2.0);
  CHECK(seconds({masks, probe, tuned}, {0.5}) == (12 + 7 + 8) * 0.5);
  CHECK(seconds({tuned, masks}, {2, 1000}) == 8 * 2.0);
  CHECK_THAT(small::error_of([&] {
               seconds({masks, probe, tuned}, {1, 2});
             }),
             Contains("there are 3 curves and 2 inputs `seconds_per_step`; allowed: one for all, or one for each"));
}

}  // namespace colonnade
