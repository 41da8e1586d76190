#include "colonnade/parse_json.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"

using namespace colonnade;
using Catch::Matchers::Contains;

TEST_CASE("JSON of others is read as it is") {
  CHECK(parse_json("{\"a\": [1, 2.5, null, {\"b\": true}], \"c\": {\"a\": 1}}", "x.json") ==
        Json{{"a", {1, 2.5, nullptr, {{"b", true}}}}, {"c", {{"a", 1}}}});
  CHECK(parse_json("3", "x.json") == 3);
}

TEST_CASE("what is wrong with JSON is said with its place") {
  CHECK_THROWS_WITH(parse_json("{\n\"a\": 1,\n}", "x.json"), Contains("x.json:3: is no JSON"));
  CHECK_THROWS_WITH(parse_json("", "x.json"), Contains("it is empty"));
  CHECK_THROWS_WITH(parse_json("{} {}", "x.json"), Contains("is no JSON"));
  CHECK_THROWS_WITH(parse_json("{\"a\": 1, \"b\": {\"a\": 2}, \"a\": 3}", "x.json"), Contains("\"a\" twice"));
  CHECK_THROWS_AS(parse_json("[1, \xff]", "x.json"), Error);
  CHECK_THROWS_AS(parse_json("[\"\xff\"]", "x.json"), Error);
  CHECK_THROWS_AS(parse_json("1e999999", "x.json"), Error);
}

TEST_CASE("JSON may only be so deep") {
  const auto nested = [](std::size_t depth, const std::string& open, const std::string& close) {
    std::string text, end;
    for (std::size_t i = 0; i < depth; ++i) text += open;
    for (std::size_t i = 0; i < depth; ++i) end += close;
    return text + "1" + end;
  };
  CHECK_NOTHROW(parse_json(nested(64, "[", "]"), "x.json"));
  CHECK_THROWS_WITH(parse_json(nested(65, "[", "]"), "x.json"), Contains("more than 64 levels deep"));
  CHECK_THROWS_WITH(parse_json(nested(1000000, "[", "]"), "x.json"), Contains("levels deep"));
  CHECK_THROWS_WITH(parse_json(nested(1000000, "{\"a\":", "}"), "x.json"), Contains("levels deep"));
  CHECK_THROWS_WITH(parse_json(nested(3, "[", "]"), "x.json", 2), Contains("more than 2 levels deep"));
}
