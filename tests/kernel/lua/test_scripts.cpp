#include <catch2/catch.hpp>

#include "tests/kernel/lua/harness.h"

namespace colonnade::host {

namespace {

const std::string opening = R"(
local col = require "colonnade"
local ablation, factorial = require "colonnade.ablation", require "colonnade.factorial"
local grid, arms = require "colonnade.grid", require "colonnade.arms"
local base = col.mamba { seed = 0 }
local three = {
  { "lora", col.lora { rank = 4 } },
  { "pair", function(model, point) return model:pair {} end },
  { "ia3", col.ia3 {} },
}
)";

std::unique_ptr<LoadedStudy> study_of(const std::string& arms, const std::string& name = "scripts") {
  return WrittenStudy(opening + "return col.study { name = '" + name + "', arms = " + arms +
                      ", metrics = function(m) return { size = col.size(m) } end }")
      .load();
}

std::vector<std::string> names(const LoadedStudy& study) {
  std::vector<std::string> result;
  for (const Arm& arm : study.description().arms) result.push_back(arm.name);
  return result;
}

// The ops of an arm from its model back to the base.
std::string chain(const LoadedStudy& study, const std::string& arm) {
  std::string text;
  NodeRef node = built(study, arm).node;
  while (true) {
    text += node->schema->name;
    if (node->inputs.empty()) return text;
    text += " < ";
    node = node->inputs[0].from.node;
  }
}

std::string error_of(const std::string& arms) {
  return WrittenStudy(opening + "return col.study { arms = " + arms + " }").error();
}

}  // namespace

TEST_CASE("ablation gives the base, each stage alone and all of them", "[lua]") {
  const auto study = study_of("ablation.arms { base = base, stages = three }");
  CHECK(names(*study) == std::vector<std::string>{"base", "+lora", "+pair", "+ia3", "all"});
  CHECK(chain(*study, "base") == "mamba");
  CHECK(chain(*study, "+pair") == "pair < mamba");
  CHECK(chain(*study, "all") == "ia3 < pair < lora < mamba");
  CHECK(study->description().arms[1].point == Json({{"lora", true}, {"pair", false}, {"ia3", false}}));
  const auto finished = study_of("ablation.arms { base = base, stages = three, finish = col.ia3 { label = 'last' } }");
  CHECK(chain(*finished, "base") == "ia3 < mamba");
  CHECK(chain(*finished, "all") == "ia3 < ia3 < pair < lora < mamba");
}

TEST_CASE("factorial gives every subset, and the arms of the ablation among them", "[lua]") {
  const auto study = study_of("factorial.arms { base = base, stages = three }");
  CHECK(names(*study) ==
        std::vector<std::string>{"base", "+lora", "+pair", "+lora+pair", "+ia3", "+lora+ia3", "+pair+ia3", "all"});
  CHECK(chain(*study, "+lora+ia3") == "ia3 < lora < mamba");
  CHECK(study->description().arms[5].point == Json({{"lora", true}, {"pair", false}, {"ia3", true}}));
  const auto ablated = study_of("ablation.arms { base = base, stages = three }");
  CHECK(built(*study, "all").node->structure == built(*ablated, "all").node->structure);
}

TEST_CASE("grid gives every combination, the last parameter fastest", "[lua]") {
  const std::string model = "model = function(p) return base:lora { rank = p.rank, sites = p.sites } end";
  const auto study = study_of("grid.arms { over = { sites = { 'a', 'b' }, rank = { 4, 8 } }, " + model + " }");
  CHECK(names(*study) ==
        std::vector<std::string>{"rank=4 sites=a", "rank=4 sites=b", "rank=8 sites=a", "rank=8 sites=b"});
  CHECK(built(*study, "rank=8 sites=a").node->params == Json({{"rank", 8}, {"sites", "a"}}));
  CHECK(study->description().arms[2].point == Json({{"rank", 8}, {"sites", "a"}}));
  const auto ordered = study_of(
      "grid.arms { over = { sites = { 'a', 'b' }, rank = { 4, 8 } }, order = { 'sites', 'rank' }, "
      "where = function(p) return p.rank == 8 or p.sites == 'a' end, " +
      model + " }");
  CHECK(names(*ordered) == std::vector<std::string>{"sites=a rank=4", "sites=a rank=8", "sites=b rank=8"});
}

TEST_CASE("Lists and maps of arms join", "[lua]") {
  const auto study = study_of(
      "arms.join(ablation.arms { base = base, stages = { three[1] } }, { z = base:ia3 {}, "
      "y = { model = base, point = { lora = true } } }, { { name = 'x', model = base } })");
  CHECK(names(*study) == std::vector<std::string>{"base", "+lora", "y", "z", "x"});
  CHECK(chain(*study, "z") == "ia3 < mamba");
}

TEST_CASE("Combinators blame the study's line", "[lua]") {
  const std::string line = "study.lua:11: ";
  CHECK_THAT(error_of("factorial.arms { base = base }"),
             Catch::Contains(line + "factorial.arms: option 'stages' is missing"));
  CHECK_THAT(error_of("factorial.arms { base = base, stages = { three[1], three[1] } }"),
             Catch::Contains(line + "factorial.arms: two stages are called 'lora'"));
  CHECK_THAT(error_of("ablation.arms { base = base, stages = { lora = col.lora {} } }"),
             Catch::Contains(line + "ablation.arms: stages is a list"));
  CHECK_THAT(error_of("ablation.arms { base = base, stages = { { 'none', function() end } } }"),
             Catch::Contains("'none' gave a nil"));
  CHECK_THAT(error_of("grid.arms { over = { rank = 4 }, model = base }"),
             Catch::Contains(line + "grid.arms: over.rank"));
  CHECK_THAT(error_of("grid.arms { over = { rank = { 4 } }, order = { 'rnk' }, model = base }"),
             Catch::Contains(line + "grid.arms: order names 'rnk'"));
  CHECK_THAT(error_of("grid.arms { over = { rank = { 0 } }, model = function(p) return base:lora(p) end }"),
             Catch::Contains(line + "lora: rank = 0 is out of range"));
}

}  // namespace colonnade::host
