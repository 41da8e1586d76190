#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "colonnade/random.h"
#include "tests/kernel/lua/harness.h"

namespace colonnade::host {

namespace {

std::unique_ptr<LoadedStudy> adaptive(const std::string& body, const std::string& metrics = "") {
  return WrittenStudy(R"(
local col = require "colonnade"
local base = col.mamba {}
return col.study { seeds = { 0, 1 }, arms = { it = { model = function(trial)
)" + body + R"(
end, point = { start = 2 } } } )" +
                      (metrics.empty() ? "" : ", metrics = " + metrics) + " }")
      .load();
}

}  // namespace

TEST_CASE("An adaptive arm goes on when its value is known", "[lua]") {
  const auto study =
      adaptive(R"(
  local rank = trial.point.start
  for step = 1, 2 do
    local size = base:lora { rank = rank }:size {}
    if size.stored:value() > 10 then rank = rank * 2 else rank = rank + 1 end
  end
  return base:lora { rank = rank }
)",
               "function(model, arm) return { size = model:size {}, nominal = model:size {}.nominal } end");
  REQUIRE(study->description().arms.size() == 1);
  CHECK(study->description().arms[0].adaptive);
  CHECK(study->description().draws_seed);

  AdaptiveStep step = study->start(0, 7);
  REQUIRE(step.error.empty());
  REQUIRE(step.needs.size() == 1);
  CHECK(step.needs[0].field == "stored");
  CHECK_FALSE(step.needs[0].node->symbolic);
  CHECK(step.needs[0].node->inputs[0].from.node->params.at("rank") == 2);
  step = study->resume(0, 7, {Json({{"value", 11.0}})});
  REQUIRE(step.needs.size() == 1);
  CHECK(step.needs[0].node->inputs[0].from.node->params.at("rank") == 4);
  step = study->resume(0, 7, {Json({{"value", 3.0}})});
  CHECK(step.needs.empty());
  CHECK(step.error.empty());
  CHECK(step.output->node->params.at("rank") == 5);
  REQUIRE(step.metrics.size() == 3);
  CHECK(step.metrics[0].name == "nominal");
  CHECK(step.metrics[2].name == "size.stored");
  CHECK_FALSE(step.metrics[0].from.node->symbolic);
}

TEST_CASE("Arms under several seeds wait side by side", "[lua]") {
  const auto study = adaptive("  local size = base:size {}.stored:value()\n  return col.number { number = size }");
  const AdaptiveStep first = study->start(0, 0), second = study->start(0, 1);
  CHECK(first.needs[0].node != second.needs[0].node);
  const AdaptiveStep second_end = study->resume(0, 1, {Json({{"value", 1.5}})});
  const AdaptiveStep first_end = study->resume(0, 0, {Json({{"value", 2.5}})});
  CHECK(first_end.output->node->params.at("number") == 2.5);
  CHECK(second_end.output->node->params.at("number") == 1.5);
  CHECK(first_end.metrics[0].name == "value");
}

TEST_CASE("Several values are awaited at once and keep their keys", "[lua]") {
  const auto study = adaptive(R"(
  local known = col.values { col.number { number = 1 }, facts = base:probe {}, size = base:size {}.stored }
  assert(known[1] == 10 and known.facts.layers[2] == "b" and known.size == 30)
  return col.number { number = known[1] + known.size }
)");
  const AdaptiveStep step = study->start(0, 0);
  REQUIRE(step.needs.size() == 3);
  const AdaptiveStep end =
      study->resume(0, 0, {Json({{"value", 10}}), Json({{"layers", {"a", "b"}}}), Json({{"value", 30}})});
  CHECK(end.error == "");
  CHECK(end.output->node->params.at("number") == 40.0);
}

TEST_CASE("An arm that attempts goes on after a refusal, with its words", "[lua]") {
  const auto study = adaptive(R"(
  local known, refusal = col.attempt { col.number { number = 1 }, size = base:size {}.stored }
  assert(known == nil and refusal == "no null space")
  known, refusal = col.attempt { size = base:size {}.stored }
  assert(known.size == 30 and refusal == nil)
  return col.number { number = col.number { number = known.size }:value() }
)");
  CHECK(study->start(0, 0).attempt);
  const AdaptiveStep second = study->refuse(0, 0, "no null space");
  REQUIRE(second.needs.size() == 1);
  const AdaptiveStep third = study->resume(0, 0, {Json({{"value", 30}})});
  REQUIRE(third.needs.size() == 1);
  CHECK_FALSE(third.attempt);
  CHECK(study->resume(0, 0, {Json({{"value", 5}})}).output->node->params.at("number") == 5.0);
}

TEST_CASE("value() is a method even where a field is called value, and can be protected", "[lua]") {
  const auto study = adaptive(R"(
  local ok, known = pcall(function() return col.number { number = 4 }:value() end)
  return col.number { number = known }
)");
  CHECK(study->start(0, 0).needs.size() == 1);
  CHECK(study->resume(0, 0, {Json({{"value", 5}})}).output->node->params.at("number") == 5.0);
}

TEST_CASE("trial.random depends on the seed and the index alone", "[lua]") {
  const auto study = adaptive(R"(
  local first = trial.random(3)
  trial.random(4)
  assert(first == trial.random(3) and trial.random(1, 6) >= 1 and trial.random(1, 6) <= 6)
  return col.number { number = trial.random(3) + trial.seed }
)");
  const AdaptiveStep zero = study->start(0, 0), one = study->start(0, 1);
  REQUIRE(zero.error == "");
  const double expected = RandomStream().at("trial").at(std::uint64_t{0}).uniform(3);
  CHECK(zero.output->node->params.at("number") == expected);
  CHECK(one.output->node->params.at("number") != expected + 1);
}

TEST_CASE("What fails in an adaptive arm fails that trial, with the study's line", "[lua]") {
  const auto failing = [](const std::string& body, const std::string& metrics = "") {
    return adaptive(body, metrics)->start(0, 0).error;
  };
  CHECK_THAT(failing("  error('no way')"), Catch::Contains("study.lua:5: no way"));
  CHECK_THAT(failing("  while true do end"), Catch::Contains("study.lua:5: ") && Catch::Contains("endless loop"));
  CHECK_THAT(failing("  return 3"), Catch::Contains("study.lua:4: arm 'it' returned the number 3"));
  CHECK_THAT(failing("  return base:lora { rnk = 3 }"), Catch::Contains("study.lua:5: lora: unknown"));
  CHECK_THAT(failing("  return base:value()"), Catch::Contains("of type model"));
  CHECK_THAT(failing("  math.random()"), Catch::Contains("use trial.random(i)"));
  CHECK_THAT(failing("  return base", "function() return 3 end"), Catch::Contains("metrics of arm 'it'"));
  CHECK_THAT(failing("  return base", "function(m)\n return { p = m:siez {} } end"), Catch::Contains("study.lua:7: "));
}

TEST_CASE("Another arm goes on after one has failed", "[lua]") {
  const auto study = adaptive("  if trial.seed == 0 then error('no') end\n  return col.number { number = trial.seed }");
  CHECK_THAT(study->start(0, 0).error, Catch::Contains("no"));
  CHECK(study->start(0, 1).error == "");
  CHECK_THAT(study->start(0, 0).error, Catch::Contains("no"));
}

}  // namespace colonnade::host
