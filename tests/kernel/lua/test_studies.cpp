#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <set>

#include "colonnade/error.h"
#include "tests/kernel/lua/harness.h"

namespace colonnade::host {

namespace {

namespace fs = std::filesystem;

const std::string opening = R"(
local col = require "colonnade"
local text = col.text { path = "data" }
local base = col.mamba { layers = 2, seed = 0 }
)";

// A study of these lines in a folder that has the file data/words.txt.
class Study {
 public:
  explicit Study(const std::string& lines) : written_(opening + lines) {
    fs::create_directory(written_.folder() / "data");
    std::ofstream(written_.folder() / "data" / "words.txt") << "words";
  }
  std::unique_ptr<LoadedStudy> load() const { return written_.load(); }
  std::string error() const { return written_.error(); }
  const fs::path& folder() const { return written_.folder(); }

 private:
  WrittenStudy written_;
};

NodeRef built_node(const std::string& expression) {
  // The study goes, its nodes stay: their schemas belong to the catalogue.
  return built(*Study("return col.study { arms = { it = " + expression +
                      " }, metrics = function(m) return { m = m:probe {} } "
                      "end }")
                    .load())
      .node;
}

std::string structure(const std::string& expression) {
  return built_node(expression)->structure.hex();
}

std::vector<std::string> names(const std::vector<MetricRef>& metrics) {
  std::vector<std::string> result;
  for (const MetricRef& metric : metrics) result.push_back(metric.name + "<" + metric.from.field);
  return result;
}

}  // namespace

TEST_CASE("An op is a function, a method and a full name alike", "[lua]") {
  const std::string method = structure("base:lora { rank = 4 }");
  CHECK(structure("col.lora(base, { rank = 4 })") == method);
  CHECK(structure("col.lora { model = base, rank = 4 }") == method);
  CHECK(structure("col.op \"lora/lora\" { model = base, rank = 4 }") == method);
  CHECK(structure("col.op \"lora\" (base, { rank = 4 })") == method);
  CHECK(structure("col.lora { rank = 4 }(base)") == method);
  CHECK(structure("col.lora {}:with { rank = 4 }(base)") == method);
  CHECK(structure("col.lora { rank = 9 }(base, { rank = 4 })") == method);
  CHECK(structure("base.model:lora { rank = 4, label = 'named' }") == method);
  CHECK(structure("base:lora { rank = 5 }") != method);
  CHECK(structure("base:lora()") == structure("base:lora { rank = 8 }"));
}

TEST_CASE("Parameters are completed and inputs stand by role", "[lua]") {
  const NodeRef node = built_node("base:train { data = text.valid, steps = 3.0, betas = { 0.5, 1 } }");
  CHECK(node->schema->id() == "train/train");
  CHECK(node->params == Json({{"steps", 3}, {"lr", 0.001}, {"betas", {0.5, 1.0}}}));
  REQUIRE(node->inputs.size() == 2);
  CHECK(node->inputs[0].role == "model");
  CHECK(node->inputs[0].from.field == "model");
  CHECK(node->inputs[1].from.field == "valid");
  CHECK(node->where.file == "study.lua");
  CHECK(node->where.line == 5);
  const NodeRef text = node->inputs[1].from.node;
  CHECK(fs::path(text->params.at("path").get<std::string>()).is_absolute());
}

TEST_CASE("A node stands for its first output, or the only one that fits", "[lua]") {
  CHECK(built_node("base:train { data = text, steps = 1 }")->inputs[1].from.field == "train");
  CHECK(built_node("col.mean { values = { base:pair {}, col.number { number = 1 } } }")->inputs[0].from.field ==
        "size");
  CHECK(built_node("col.mean { values = base:pair {} }")->inputs.size() == 1);
}

TEST_CASE("Seeds are the trial's unless they are fixed", "[lua]") {
  CHECK(built_node("col.mamba {}")->symbolic);
  CHECK(structure("col.mamba { seed = col.seed }") == structure("col.mamba {}"));
  CHECK_FALSE(built_node("col.mamba { seed = 3 }")->symbolic);
  CHECK_FALSE(built_node("base")->symbolic);
  CHECK(built_node("base:train { data = text, steps = 1, stream = 4 }")->stream == 4);
  CHECK(built_node("base:train { data = text, steps = 1, device = 'cpu' }")->device == "cpu");
}

TEST_CASE("Recipes become documents", "[lua]") {
  const NodeRef node = built_node("base:peft { strong = col.lora { rank = 4 }, light = col.ia3 {} }");
  CHECK(node->params.at("strong") == Json({{"op", "lora/lora"}, {"params", {{"rank", 4}, {"sites", "*"}}}}));
  CHECK(node->params.at("light").at("op") == "ia3/ia3");
  CHECK(built_node("base:peft { strong = col.lora {} }")->params.at("light").is_null());
}

TEST_CASE("Handles compare by what they stand for and print without addresses", "[lua]") {
  CHECK_THAT(Study("error(tostring(base:ia3 {} == base:ia3 {}) .. tostring(base == base.model), 0)").error(),
             Catch::EndsWith("truefalse"));
  CHECK_THAT(Study("error(tostring(base:ia3 {} ~= base:lora {}) .. tostring(text.train == text.train), 0)").error(),
             Catch::EndsWith("truetrue"));
  const std::string digits = structure("base").substr(0, 6);
  CHECK_THAT(Study("error(tostring(base) .. ', ' .. string.format('%s', base.model), 0)").error(),
             Catch::EndsWith("node: mamba " + digits + ", field: mamba " + digits + ".model"));
  CHECK_THAT(Study("error(col.kind(base) .. col.kind(col.ia3 {}) .. col.kind(text.train) .. col.kind(3), 0)").error(),
             Catch::EndsWith("noderecipefieldnumber"));
}

TEST_CASE("A study's description holds what it says", "[lua]") {
  const Study study(R"(
return col.study {
  name = "described", question = "Does it?", seeds = { 3, 1 },
  arms = {
    { name = "plain", model = base, point = { rank = 0, adapted = false } },
    { name = "+lora", model = base:lora { rank = 4 }, point = { rank = 4, adapted = true } },
  },
  metrics = function(model, arm)
    assert(arm.point.rank == 0 or arm.name == "+lora")
    local tuned = model:train { data = text.train, steps = col.setting("budget", 5) }
    return { perplexity = tuned:perplexity { data = text.test }, size = tuned:size {}, curve = tuned.curve,
             trained = tuned, facts = tuned:probe {} }
  end,
  shared = { rival = col.number { number = 2 } },
  figures = { col.scatter { x = "size.stored", y = "perplexity" },
              col.line { from = "curve", x = "step", y = "loss" } },
  report = {
    col.compare { metric = "perplexity", baseline = "plain", log = true },
    col.effects { metric = "perplexity", factors = { "adapted" } },
    col.target { name = "small", metric = "size.stored", value = 0.9, better = "higher", as = "reduction",
                 baseline = "plain" },
    col.section { title = "Sizes", table = { "size.stored", "size.nominal" } },
  },
}
)");
  const auto loaded = study.load();
  const StudyDescription& description = loaded->description();
  CHECK(description.name == "described");
  CHECK(description.question == "Does it?");
  CHECK(description.seeds == std::vector<std::uint64_t>{3, 1});
  REQUIRE(description.arms.size() == 2);
  CHECK(description.arms[0].name == "plain");
  CHECK(description.arms[1].point == Json({{"rank", 4}, {"adapted", true}}));
  CHECK(names(description.arms[0].metrics) == std::vector<std::string>{"curve<curve", "facts<facts",
                                                                       "perplexity<perplexity", "size.nominal<nominal",
                                                                       "size.stored<stored", "trained<curve"});
  CHECK(names(description.shared) == std::vector<std::string>{"rival<value"});
  CHECK(description.draws_seed);
  CHECK(description.used_settings == Json({{"budget", 5}}));
  CHECK(description.sources == std::vector<fs::path>{fs::canonical(study.folder() / "study.lua")});

  REQUIRE(description.figures.size() == 2);
  CHECK(description.figures[0] == Json({{"type", "scatter"},
                                        {"name", "scatter-1"},
                                        {"title", ""},
                                        {"from", ""},
                                        {"arms", Json::array()},
                                        {"log", ""},
                                        {"x_label", ""},
                                        {"y_label", ""},
                                        {"x", "size.stored"},
                                        {"y", "perplexity"},
                                        {"group", "arm"}}));
  CHECK(description.figures[1].at("y") == Json({"loss"}));
  CHECK(description.report.at("comparisons") ==
        Json::array({{{"metric", {"perplexity"}}, {"baseline", "plain"}, {"log", true}}}));
  CHECK(description.report.at("effects").size() == 1);
  CHECK(description.report.at("targets")[0].at("cap").is_null());
  CHECK(description.report.at("targets")[0].at("value") == 0.9);
  CHECK(description.report.at("sections")[0].at("table") == Json({"size.stored", "size.nominal"}));
}

TEST_CASE("What is left out has defaults", "[lua]") {
  const Study study("return col.study { arms = { b = base:pair {}, a = col.number { number = 1 } } }");
  const auto loaded = study.load();
  const StudyDescription& description = loaded->description();
  CHECK(description.name == study.folder().filename().string());
  CHECK(description.seeds == std::vector<std::uint64_t>{0});
  REQUIRE(description.arms.size() == 2);
  CHECK(description.arms[0].name == "a");
  CHECK(names(description.arms[0].metrics) == std::vector<std::string>{"value<value"});
  CHECK(names(description.arms[1].metrics) == std::vector<std::string>{"size<size"});
  CHECK_FALSE(description.draws_seed);
}

TEST_CASE("Files are declared for no arm by a table, and for every arm by a function", "[lua]") {
  const auto shared = Study(R"(
local facts = base:statistics {}
return col.study {
  arms = { it = col.number { number = 1 } },
  files = { ["means.npy"] = facts.means, ["rows.csv"] = facts },
}
)")
                          .load();
  CHECK(names(shared->description().shared_files) == std::vector<std::string>{"means.npy<means", "rows.csv<rows"});
  CHECK(shared->description().arms[0].files.empty());
  CHECK_FALSE(shared->description().draws_seed);
  const auto by_arm = Study(R"(
return col.study {
  arms = { { name = "small", model = base, point = { rank = 2 } }, { name = "drawn", model = col.mamba {} } },
  metrics = function(model) return { p = base:perplexity { data = text } } end,
  files = function(model, arm)
    return { ["means.npy"] = model:statistics({}).means, [arm.name .. tostring(arm.point.rank) .. ".csv"] = model:statistics {} }
  end,
}
)")
                          .load();
  CHECK(by_arm->description().shared_files.empty());
  CHECK(names(by_arm->description().arms[0].files) == std::vector<std::string>{"means.npy<means", "small2.csv<rows"});
  CHECK(names(by_arm->description().arms[1].files) == std::vector<std::string>{"drawnnil.csv<rows", "means.npy<means"});
  // Only a file depends on the seed.
  CHECK(by_arm->description().draws_seed);
}

TEST_CASE("Settings are read by name and kind", "[lua]") {
  const auto loaded = Study(R"(
assert(col.setting("text.path") == "data")
assert(col.setting("ranks")[2] == 8)
assert(math.type(col.setting("rate", 0.5)) == "float")
assert(col.setting("absent", "default") == "default")
return col.study { arms = { it = col.number { number = 1 } } }
)")
                          .load();
  CHECK(loaded->description().used_settings ==
        Json({{"text.path", "data"}, {"ranks", {4, 8}}, {"rate", 3.0}, {"absent", "default"}}));
}

TEST_CASE("A field hides a method of its name, and the op can still be called", "[lua]") {
  // `pair` gives a model and a field "size", and there is an op "size" of models.
  const auto loaded = Study(R"(
local pair = base:pair {}
return col.study { arms = { field = pair.size, op = col.size(pair) } }
)")
                          .load();
  CHECK(built(*loaded, "field").field == "size");
  CHECK(built(*loaded, "op").node->schema->name == "size");
  CHECK_THAT(Study("local s = base:pair {}:size {}").error(), Catch::Contains("is a field, which cannot be called"));
}

TEST_CASE("Nodes that are built twice are one", "[lua]") {
  const auto loaded = Study("return col.study { arms = { a = base:pair {}, b = base:pair {} } }").load();
  CHECK(built(*loaded, "a").node == built(*loaded, "b").node);
}

TEST_CASE("hidden: print structures", "[.]") {
  const auto loaded = Study(R"(
local shared, arms = { a = 1, b = 2, c = 3, d = 4, e = 5 }, {}
for name, rank in pairs(shared) do
  arms[#arms + 1] = { name = name, model = base:lora { rank = rank + math.random(5) } }
end
return col.study { arms = arms, metrics = function(m) return { p = m:perplexity { data = text }, s = m:size {} } end }
)")
                          .load();
  // Paths are part of structures and this study's folder is new each time: only the models are printed.
  for (const Arm& arm : loaded->description().arms) {
    std::printf("%s %s\n", arm.name.c_str(), arm.output->node->structure.hex().c_str());
  }
}

TEST_CASE("A study gives the same graph in every process", "[lua]") {
  std::set<std::string> graphs;
  for (int i = 0; i < 12; ++i) {
    const Ran ran = run_hidden("hidden: print structures");
    REQUIRE(ran.code == 0);
    const auto begin = ran.output.find("a "), end = ran.output.find("\n===");
    REQUIRE(end != std::string::npos);
    graphs.insert(ran.output.substr(begin, end - begin));
  }
  CHECK(graphs.size() == 1);
}

}  // namespace colonnade::host
