#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "kernel/lua/expression.h"

namespace colonnade::host {

TEST_CASE("Expressions are over an op's parameters", "[lua]") {
  const Json params = {{"steps", 10},         {"batch", 4},       {"lr", 0.5},
                       {"levels", {1, 2, 3}}, {"limit", nullptr}, {"name", "x"}};
  CHECK(evaluate_expression("steps * batch", params) == 40);
  CHECK(evaluate_expression("math.max(steps, 100) * lr + #levels", params) == 53);
  CHECK(evaluate_expression("floor(sqrt(steps)) + (limit or 7)", params) == 10);
  CHECK(evaluate_expression("steps // 3", params) == 3);
}

TEST_CASE("A wrong expression is an error that shows it", "[lua]") {
  CHECK_THROWS_WITH(evaluate_expression("steps *", Json::object()), Catch::Contains("'steps *'"));
  CHECK_THROWS_WITH(evaluate_expression("steps * 2", Json::object()), Catch::Contains("steps"));
  CHECK_THROWS_WITH(evaluate_expression("name", {{"name", true}}), Catch::Contains("boolean, not a number"));
  CHECK_THROWS_WITH(evaluate_expression("os.time()", Json::object()), Catch::Contains("os"));
  CHECK_THROWS_WITH(evaluate_expression("(function() while true do end end)()", Json::object()),
                    Catch::Contains("does not end"));
  CHECK_THROWS_AS(evaluate_expression("nothing", Json::object()), Error);
}

}  // namespace colonnade::host
