#include "kernel/graph/keys.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "colonnade/encode.h"
#include "colonnade/error.h"

using namespace colonnade;
using namespace colonnade::host;

namespace {

// Everything that a key is made of, to be changed one by one.
struct World {
  OpSchema source, join, other_join;
  std::map<std::string, std::string> code = {{"good", "good-1"}, {"kit", "kit-1"}, {"carried", "carried-1"}};
  std::map<std::string, std::string> files = {{"/data/a", "bytes"}};
  NumericEnvironment environment = numeric_environment("cpu", 1, "portable");
  Json params = {{"rank", 1},
                 {"record", {{"x", 1}}},
                 {"file", "/data/a"},
                 {"recipe", {{"op", "kit/tool"}, {"params", {{"k", 2}}}}},
                 {"names", Json::array({"ab", "c"})}};
  std::optional<SeedBinding> seed = SeedBinding{false, 7};
  std::optional<std::uint64_t> stream;
  std::string device, label = "label", machine = "machine one", card = "card one";
  Where where = {"study.lua", 3};
  std::string left = "left", right = "right";
  std::set<std::string> carries = {"carried"};
  OpSchema tool;
  bool swapped = false;

  World() {
    source.plugin = "good";
    source.name = "source";
    source.params = {text("text", "what").fall_back("x")};
    source.outputs = {{"value", "record", "a value"}};
    join = source;
    join.name = "join";
    join.random = true;
    join.inputs = {{"a", "record", "first"}, {"b", "record", "second"}};
    join.params = {integer("rank", "r"), text("record", "any"), path("file", "f"), recipe("recipe", "", "r"),
                   list("names", ParamType::string, "n")};
    tool = source;
    tool.plugin = "kit";
    tool.name = "tool";
    tool.params = {integer("k", "k")};
  }

  NodeKey key() const {
    NodeFactory factory;
    const NodeRef a = factory.make(source, {{"text", left}}, {}, {}, {}, "", "", {});
    const NodeRef b = factory.make(source, {{"text", right}}, {}, {}, {}, "", "", {});
    const NodeRef node =
        factory.make(join, params, {{"a", {swapped ? b : a, "value"}}, {"b", {swapped ? a : b, "value"}}}, seed, stream,
                     device, label, where);
    std::vector<KeyInput> inputs;
    for (const NodeInput& input : node->inputs) {
      inputs.push_back({input.role, hash_bytes(input.from.node->params.at("text").get<std::string>()), carries});
    }
    KeySources sources;
    sources.code = [this](const std::string& plugin, const std::string&) {
      return Json{{plugin, code.at(plugin)}, {"sdk", "sdk-1"}};
    };
    sources.card = card;
    sources.path_content = [this](const std::string& path) { return hash_bytes(files.at(path)); };
    sources.schema = [this](const std::string& op) { return op == "kit/tool" ? &tool : nullptr; };
    sources.machine = machine;
    return make_key(*node, inputs, environment, sources);
  }
};

using Change = std::function<void(World&)>;
struct Row {
  std::string what;
  Change change;
  std::vector<std::string> parts;  // of the record that differ; none: the key stays
};

}  // namespace

TEST_CASE("A key changes with each thing that can change the result, and with nothing else", "[keys]") {
  const std::vector<Row> rows = {
      {"swapped inputs", [](World& w) { w.swapped = true; }, {"inputs.a", "inputs.b"}},
      {"an input's content", [](World& w) { w.right = "other"; }, {"inputs.b"}},
      {"an integer", [](World& w) { w.params["rank"] = 2; }, {"params.rank"}},
      {"1 and 1.0 in a record", [](World& w) { w.params["record"]["x"] = 1.0; }, {"params.record.x"}},
      {"\"ab\"+\"c\" and \"a\"+\"bc\"",
       [](World& w) {
         w.params["names"] = {"a", "bc"};
       },
       {"params.names.0", "params.names.1"}},
      {"a byte of the op's plugin", [](World& w) { w.code["good"] = "good-2"; }, {"code.good"}},
      {"a byte of a recipe's plugin", [](World& w) { w.code["kit"] = "kit-2"; }, {"code.kit"}},
      {"a byte of a plugin that an input carries", [](World& w) { w.code["carried"] = "c-2"; }, {"code.carried"}},
      {"what inputs carry", [](World& w) { w.carries = {}; }, {"code.carried"}},
      {"a recipe's parameter", [](World& w) { w.params["recipe"]["params"]["k"] = 3; }, {"params.recipe.params.k"}},
      {"a recipe's version", [](World& w) { w.tool.version = 2; }, {"params.recipe.version"}},
      {"the op's version", [](World& w) { w.join.version = 2; }, {"version"}},
      {"the op", [](World& w) { w.join.name = "fuse"; }, {"op"}},
      {"threads",
       [](World& w) { w.environment = numeric_environment("cpu", 2, "portable"); },
       {"environment.threads", "environment.variables.MKL_NUM_THREADS", "environment.variables.OMP_NUM_THREADS",
        "environment.variables.OPENBLAS_NUM_THREADS"}},
      {"one variable",
       [](World& w) { w.environment.variables["MKL_CBWR"] = "AVX512"; },
       {"environment.variables.MKL_CBWR"}},
      {"seed", [](World& w) { w.seed->value = 8; }, {"seed"}},
      {"stream", [](World& w) { w.stream = 1; }, {"stream"}},
      {"device", [](World& w) { w.device = "cuda"; }, {"card", "device"}},
      {"the content of a path", [](World& w) { w.files["/data/a"] = "byteS"; }, {"params.file"}},
      {"the machine, of a measured op", [](World& w) { w.join.op_class = OpClass::measured; }, {"machine"}},

      {"a moved file", [](World& w) { w.files["/else/b"] = "bytes", w.params["file"] = "/else/b"; }, {}},
      {"the label", [](World& w) { w.label = "another"; }, {}},
      {"the line in the study", [](World& w) { w.where.line = 99; }, {}},
      {"the card, of an op on the CPU", [](World& w) { w.card = "card two"; }, {}},
      {"the machine, of a bitwise op", [](World& w) { w.machine = "machine two"; }, {}},
      {"the study's device, of an op that does not follow it", [](World& w) { w.environment.device = "cuda"; }, {}},
      {"an explicit stream that is the default one", [](World& w) { w.stream = 0; }, {}},
      {"documentation", [](World& w) { w.join.doc = "better words"; }, {}},
  };
  const NodeKey base = World().key();
  for (const Row& row : rows) {
    World world;
    row.change(world);
    const NodeKey changed = world.key();
    INFO(row.what);
    CHECK((changed.key == base.key) == row.parts.empty());
    std::vector<std::string> parts;
    for (const KeyDifference& difference : compare_keys(base.record, changed.record)) parts.push_back(difference.part);
    CHECK(parts == row.parts);
  }
}

TEST_CASE("Minus zero is not zero in a key", "[keys]") {
  World plus, minus;
  plus.params["record"] = 0.0;
  minus.params["record"] = -0.0;
  CHECK(plus.key().key != minus.key().key);
}

TEST_CASE("A key is the hash of its record and names the plugins to load", "[keys]") {
  const NodeKey key = World().key();
  CHECK(key.key == hash_bytes(encode(key.record)));
  CHECK(key.plugins == std::set<std::string>{"carried", "good", "kit"});
}

TEST_CASE("A node whose seed is not bound has no key", "[keys]") {
  World world;
  world.seed = SeedBinding{};
  CHECK_THROWS_AS(world.key(), std::logic_error);
}

TEST_CASE("The numeric environment lowers every library to one instruction set, or none", "[keys]") {
  const NumericEnvironment portable = numeric_environment("cpu", 3, "portable");
  CHECK(portable.variables.at("OMP_NUM_THREADS") == "3");
  CHECK(portable.variables.at("ATEN_CPU_CAPABILITY") == "avx2");
  CHECK(portable.cpu_model.empty());
  const NumericEnvironment native = numeric_environment("cpu", 3, "native");
  CHECK(native.variables.count("ATEN_CPU_CAPABILITY") == 0);
  CHECK_FALSE(native.cpu_model.empty());
  CHECK_THROWS_WITH(numeric_environment("cpu", 1, "portabel"),
                    "simd = 'portabel' is unknown; allowed: 'portable', 'native'; did you mean 'portable'?");
}

TEST_CASE("Differences of inputs are named by role, of several in one role by number", "[keys]") {
  const auto input = [](const char* role, const char* content) { return Json{{"role", role}, {"content", content}}; };
  const Json before = {{"inputs", {input("data", "x"), input("more", "y"), input("more", "z")}}};
  const Json after = {{"inputs", {input("data", "x"), input("more", "y"), input("more", "w")}}};
  const auto differences = compare_keys(before, after);
  REQUIRE(differences.size() == 1);
  CHECK(differences[0].part == "inputs.more#2");
  CHECK(differences[0].before == "z");
  CHECK(differences[0].after == "w");
}
