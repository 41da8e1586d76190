#include "colonnade/schema.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "colonnade/error.h"

using namespace colonnade;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const std::string kWhere = "studies/x/study.lua:12";

OpSchema example_schema() {
  OpSchema schema;
  schema.plugin = "lora";
  schema.name = "lora";
  schema.doc = "Adds a low-rank branch to sites.";
  schema.inputs = {{"model", "model", "What is adapted."}};
  schema.outputs = {{"plan", "lora/plan", "Where the branches go."}};
  schema.params = {
      integer("rank", "Rank of the branch.").range(1, std::nullopt).fall_back(8).searched(Search::log),
      real("alpha", "Scale.").above(0).fall_back(32),
      real("dropout", "Share of inputs dropped.").range(0, std::nullopt).below(1).fall_back(0.0),
      real("shift", "Any real number.").fall_back(0.0),
      real("warmup", "Time to warm up.").range(0, 60).in("seconds").fall_back(0.0),
      integer("steps", "Most steps.").range(1, 1000).optional(),
      choice("noise", {"logistic", "gumbel"}, "The noise.").fall_back("logistic"),
      boolean("straight_through", "Hard forward, soft backward.").fall_back(false),
      text("note", "Any text.").fall_back(""),
      path("file", "Where from.").optional(),
      sites("sites", "Where to.").fall_back("*"),
      list("temperatures", ParamType::real, "One after the other.").above(0).fall_back(Json::array({0.5})),
      list("noises", ParamType::choice, "Noises.").fall_back(Json::array()),
      recipe("inner", "lora/plan", "What is put inside.").optional(),
  };
  schema.params[12].choices = {"logistic", "gumbel"};
  return schema;
}

Json checked(const std::string& name, const Json& value) {
  static const OpSchema schema = example_schema();
  const Param* param = schema.find_param(name);
  REQUIRE(param != nullptr);
  return check_param(schema, *param, value, kWhere);
}

std::string refusal(const std::string& name, const Json& value) {
  try {
    checked(name, value);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    const std::string opening = kWhere + ": lora: ";
    REQUIRE(std::string(error.what()).starts_with(opening));
    return std::string(error.what()).substr(opening.size());
  }
  return "accepted";
}

// Same type as well as same value, which == of documents does not ask.
bool same(const Json& a, const Json& b) {
  return a == b && a.is_number_float() == b.is_number_float();
}

}  // namespace

TEST_CASE("the example schema is right") {
  CHECK_NOTHROW(check_schema(example_schema()));
}

TEST_CASE("integers are integers in their range") {
  CHECK(same(checked("rank", 4), 4));
  CHECK(same(checked("rank", std::uint64_t{4}), 4));
  CHECK(same(checked("rank", 3.0), 3));
  CHECK(refusal("rank", 0) == "rank = 0 is out of range; allowed: an integer of at least 1");
  CHECK(refusal("rank", -3.0) == "rank = -3.0 is out of range; allowed: an integer of at least 1");
  CHECK(refusal("rank", 2.5) == "rank = 2.5 is no integer; allowed: an integer of at least 1");
  CHECK(refusal("rank", "3") == "rank = \"3\" is a string; allowed: an integer of at least 1");
  CHECK(refusal("rank", true) == "rank = true is a boolean; allowed: an integer of at least 1");
  CHECK(refusal("rank", nullptr) == "rank is nil; allowed: an integer of at least 1");
  CHECK(refusal("rank", Json::array({1})) == "rank = [1] is a list; allowed: an integer of at least 1");
  CHECK(refusal("rank", kInfinity) == "rank = inf is no integer; allowed: an integer of at least 1");
  CHECK(refusal("rank", 1e300) == "rank = 1e+300 is too large; allowed: an integer of at least 1");
  CHECK(refusal("rank", 0x1p63) == "rank = 9.223372036854776e+18 is too large; allowed: an integer of at least 1");
  CHECK(refusal("rank", std::numeric_limits<std::uint64_t>::max()) ==
        "rank = 18446744073709551615 is too large; allowed: an integer of at least 1");
  CHECK(same(checked("rank", 0x1p62), std::int64_t{1} << 62));
  CHECK(refusal("steps", 1001) == "steps = 1001 is out of range; allowed: an integer from 1 to 1000, or nil");
}

TEST_CASE("reals are finite numbers in their range") {
  CHECK(same(checked("alpha", 16), 16.0));
  CHECK(same(checked("alpha", 1e-9), 1e-9));
  CHECK(refusal("alpha", 0) == "alpha = 0 is out of range; allowed: a number above 0");
  CHECK(refusal("alpha", std::nan("")) == "alpha = nan is not a number; allowed: a number above 0");
  CHECK(refusal("alpha", kInfinity) == "alpha = inf is out of range; allowed: a number above 0");
  CHECK(refusal("alpha", "16") == "alpha = \"16\" is a string; allowed: a number above 0");
  CHECK(same(checked("dropout", 0), 0.0));
  CHECK(refusal("dropout", 1.0) == "dropout = 1.0 is out of range; allowed: a number of at least 0 and below 1");
  CHECK(refusal("warmup", 61) == "warmup = 61 is out of range; allowed: a number from 0 to 60, in seconds");
  CHECK(refusal("shift", std::nan("")) == "shift = nan is not a number; allowed: a number");
  CHECK(checked("shift", -kInfinity) == -kInfinity);
  CHECK(std::signbit(checked("shift", -0.0).get<double>()));
}

TEST_CASE("an integer that a real cannot hold is refused rather than rounded") {
  constexpr std::int64_t kTwoTo53 = std::int64_t{1} << 53;
  CHECK(same(checked("shift", kTwoTo53), 0x1p53));
  CHECK(refusal("shift", kTwoTo53 + 1) ==
        "shift = 9007199254740993 has more digits than a real number holds; allowed: a number");
  CHECK(refusal("shift", std::numeric_limits<std::int64_t>::max()) != "accepted");
  CHECK(refusal("shift", std::numeric_limits<std::uint64_t>::max()) != "accepted");
  CHECK(same(checked("shift", std::numeric_limits<std::int64_t>::min()), -0x1p63));
}

TEST_CASE("choices are among those declared") {
  CHECK(checked("noise", "gumbel") == "gumbel");
  CHECK(refusal("noise", "gumble") ==
        "noise = \"gumble\" is unknown; did you mean 'gumbel'? allowed: one of 'logistic', 'gumbel'");
  CHECK(refusal("noise", "none") == "noise = \"none\" is unknown; allowed: one of 'logistic', 'gumbel'");
  CHECK(refusal("noise", 1) == "noise = 1 is an integer; allowed: one of 'logistic', 'gumbel'");
}

TEST_CASE("booleans, texts, paths and sites are what they say") {
  CHECK(checked("straight_through", true) == true);
  CHECK(refusal("straight_through", 1) == "straight_through = 1 is an integer; allowed: true or false");
  CHECK(checked("note", "") == "");
  CHECK(refusal("note", 1.5) == "note = 1.5 is a number; allowed: a string");
  CHECK(checked("file", "a/b") == "a/b");
  CHECK(checked("file", nullptr) == nullptr);
  CHECK(refusal("file", "") == "file = \"\" is empty; allowed: the path of a file or folder, or nil");
  CHECK(checked("sites", "*.x_proj,!layer:0") == "*.x_proj,!layer:0");
  for (const std::string fine : {"all", "*", "role:whatever", "kind:conv1d & layer:8..15, !*.in_proj#z", "a?b*"})
    CHECK(checked("sites", fine) == fine);
  CHECK_THAT(refusal("sites", "kind:linaer"),
             Catch::StartsWith("sites = \"kind:linaer\" has an unknown kind 'linaer'; did you mean 'linear'? Kinds: "));
  CHECK_THAT(refusal("sites", "*.x, rol:a"),
             Catch::StartsWith("sites = \"*.x, rol:a\" has an unknown word 'rol:'; did you mean 'role'?"));
  for (const std::string wrong : {"layer:x", "layer:", "layer:1.."})
    CHECK_THAT(refusal("sites", wrong), Catch::Contains("write layer:3 or layer:8..15"));
  for (const std::string empty : {"a,,b", "a,", "!", "a&", "#part"})
    CHECK_THAT(refusal("sites", empty), Catch::Contains("has an empty term"));
  CHECK(refusal("sites", "") == "sites = \"\" is empty; allowed: a site selector, such as '*.x_proj' or 'layer:0..3'");
}

TEST_CASE("every element of a list is checked") {
  CHECK(same(checked("temperatures", Json::array({1, 0.5}))[0], 1.0));
  CHECK(checked("temperatures", Json::array()) == Json::array());
  CHECK(checked("temperatures", Json::object()) == Json::array());
  CHECK(refusal("temperatures", Json::array({0.5, 0})) ==
        "temperatures[2] = 0 is out of range; allowed: a number above 0");
  CHECK(refusal("temperatures", Json::array({nullptr})) == "temperatures[1] is nil; allowed: a number above 0");
  CHECK(refusal("temperatures", 0.5) ==
        "temperatures = 0.5 is a number; allowed: a list, each element a number above 0");
  CHECK(refusal("noises", Json::array({"gumble"})) ==
        "noises[1] = \"gumble\" is unknown; did you mean 'gumbel'? allowed: one of 'logistic', 'gumbel'");
}

TEST_CASE("recipes name an op and its parameters") {
  const std::string allowed = "; allowed: an op that gives 'lora/plan' and has not been applied yet, or nil";
  Json value = Json::object();
  value["op"] = "ia3/ia3";
  CHECK(checked("inner", value) == Json::parse(R"({"op": "ia3/ia3", "params": {}})"));
  value["params"] = Json::array();
  CHECK(checked("inner", value) == Json::parse(R"({"op": "ia3/ia3", "params": {}})"));
  value["params"] = Json::object();
  value["params"]["rank"] = 1.0;
  CHECK(same(checked("inner", value)["params"]["rank"], 1.0));
  CHECK(refusal("inner", 3) == "inner = 3 is an integer" + allowed);
  CHECK(refusal("inner", Json::object()) == "inner = {} names no op" + allowed);
  value["params"] = 1;
  CHECK(refusal("inner", value) == "inner = {\"op\":\"ia3/ia3\",\"params\":1} has params that are no table" + allowed);
  value["params"] = Json::object();
  value["seed"] = 1;
  CHECK(refusal("inner", value) ==
        "inner = {\"op\":\"ia3/ia3\",\"params\":{},\"seed\":1} has an unknown entry 'seed'" + allowed);
}

TEST_CASE("long and unreadable values are shown safely") {
  CHECK(refusal("rank", std::string(1000, 'x')) ==
        "rank = \"" + std::string(56, 'x') + "... is a string; allowed: an integer of at least 1");
  CHECK(refusal("rank", "\xff") == "rank = \"\xef\xbf\xbd\" is a string; allowed: an integer of at least 1");
}

TEST_CASE("parameters are completed with defaults of their type") {
  const OpSchema schema = example_schema();
  const Json complete = complete_params(schema, Json::object(), kWhere);
  CHECK(complete.size() == schema.params.size());
  CHECK(same(complete["alpha"], 32.0));
  CHECK(same(complete["rank"], 8));
  CHECK(complete["steps"].is_null());
  CHECK(complete_params(schema, nullptr, kWhere) == complete);
  CHECK(complete_params(schema, Json::array(), kWhere) == complete);
  CHECK(complete_params(schema, complete, kWhere) == complete);
  Json given = Json::object();
  given["alpha"] = 1;
  CHECK(same(complete_params(schema, given, kWhere)["alpha"], 1.0));
}

TEST_CASE("unknown and missing parameters are named") {
  OpSchema schema = example_schema();
  schema.params.resize(2);
  schema.params[0].fallback.reset();
  Json given = Json::object();
  given["rnak"] = 4;
  CHECK_THROWS_WITH(complete_params(schema, given, kWhere),
                    kWhere + ": unknown parameter 'rnak' of lora; did you mean 'rank'? It has: alpha, rank");
  given = Json::object();
  given["momentum"] = 4;
  CHECK_THROWS_WITH(complete_params(schema, given, ""), "unknown parameter 'momentum' of lora. It has: alpha, rank");
  CHECK_THROWS_WITH(complete_params(schema, Json::object(), kWhere),
                    kWhere + ": lora: parameter 'rank' is missing; needed: an integer of at least 1");
  CHECK_THROWS_WITH(complete_params(schema, "rank", ""),
                    "lora: the parameters are a string; allowed: a table of names and values");
  schema.params.clear();
  CHECK_THROWS_WITH(complete_params(schema, given, ""), "unknown parameter 'momentum' of lora. It has: none");
}

TEST_CASE("a schema comes back from its document as it was") {
  OpSchema schema = example_schema();
  schema.version = 3;
  schema.example = "col.lora { rank = 8 }";
  schema.op_class = OpClass::tolerant;
  schema.epsilon = 1e-6;
  schema.random = true;
  schema.fixed_stream = true;
  schema.inputs.push_back({"more", "any", "More.", true, true});
  schema.cores = 2;
  schema.memory = "1024 * rank";
  schema.work = "rank";
  schema.bytes = "8 * rank";
  schema.device = "any";
  schema.time_limit = 60;
  const Json document = to_json(schema);
  const OpSchema read = schema_from_json(document);
  CHECK(to_json(read) == document);
  CHECK(read.id() == "lora/lora");
  CHECK(read.op_class == OpClass::tolerant);
  CHECK(read.time_limit == 60);
  CHECK(read.inputs[1].optional);
  CHECK(read.inputs[1].many);
  CHECK(read.params[5].fallback == Json(nullptr));
  CHECK(read.params[0].search == Search::log);
  CHECK(read.params[2].max_exclusive);
  CHECK(read.params[12].element == ParamType::choice);
  schema.params[0].fallback.reset();
  CHECK_FALSE(schema_from_json(to_json(schema)).params[0].fallback.has_value());
}

TEST_CASE("every entry of a schema's document is read") {
  const Json document = to_json(example_schema());
  for (const auto& [key, value] : document.items()) {
    Json without = document;
    without.erase(key);
    CHECK_THROWS_AS(schema_from_json(without), Error);
  }
  for (const auto& [key, value] : document.at("params")[0].items()) {
    if (key == "default") continue;
    Json without = document;
    without["params"][0].erase(key);
    CHECK_THROWS_AS(schema_from_json(without), Error);
  }
  Json newer = document;
  newer["class"] = "psychic";
  CHECK_THROWS_WITH(schema_from_json(newer), "a stored schema says 'psychic', which this version does not know");
  CHECK_THROWS_AS(schema_from_json(3), Error);
}

namespace {

template <typename Change>
std::string schema_mistake(Change change) {
  OpSchema schema = example_schema();
  change(schema);
  try {
    check_schema(schema);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::environment);
    const std::string opening = "the schema of op '" + schema.id() + "' is wrong: ";
    REQUIRE(std::string(error.what()).starts_with(opening));
    return std::string(error.what()).substr(opening.size());
  }
  return "none";
}

std::string param_mistake(const Param& param) {
  return schema_mistake([&](OpSchema& schema) { schema.params.push_back(param); });
}

}  // namespace

TEST_CASE("an op's own mistakes are named") {
  CHECK(schema_mistake([](OpSchema& s) { s.name = "LoRA"; }) ==
        "it has the name 'LoRA'; allowed: lower-case letters, digits and _, a letter first");
  CHECK(schema_mistake([](OpSchema& s) { s.plugin = ""; }) ==
        "its plugin has the name ''; allowed: lower-case letters, digits and _, a letter first");
  CHECK(schema_mistake([](OpSchema& s) { s.version = 0; }) == "its version is 0; allowed: 1 and up");
  CHECK(schema_mistake([](OpSchema& s) { s.doc.clear(); }) == "it has no doc");
  CHECK(schema_mistake([](OpSchema& s) { s.op_class = OpClass::tolerant; }) ==
        "it is tolerant without an epsilon above 0");
  CHECK(schema_mistake([](OpSchema& s) { s.epsilon = 1; }) == "it has an epsilon but is not tolerant");
  CHECK(schema_mistake([](OpSchema& s) { s.fixed_stream = true; }) ==
        "it fixes its stream but draws no random numbers");
  CHECK(schema_mistake([](OpSchema& s) { s.cores = -1; }) == "its cores are -1; allowed: 0 and up");
  CHECK(schema_mistake([](OpSchema& s) { s.device = "gpu"; }) == "its device is 'gpu'; allowed: cpu, any");
  CHECK(schema_mistake([](OpSchema& s) { s.time_limit = 0; }) == "its time limit is not above 0");
}

TEST_CASE("mistakes in inputs and outputs are named") {
  CHECK(schema_mistake([](OpSchema& s) { s.inputs[0].doc.clear(); }) == "input 'model' has no doc");
  CHECK(schema_mistake([](OpSchema& s) { s.inputs[0].type = "a/b/c"; }) ==
        "input 'model' has the type 'a/b/c'; allowed: 'any', 'name' or 'plugin/name'");
  CHECK(schema_mistake([](OpSchema& s) { s.inputs[0].role = "seed"; }) ==
        "the name 'seed' is reserved; also reserved: seed, stream, device, label");
  CHECK(schema_mistake([](OpSchema& s) { s.inputs[0].role = "rank"; }) ==
        "two of its inputs and parameters are named 'rank'");
  CHECK(schema_mistake([](OpSchema& s) { s.outputs.clear(); }) == "it has no output");
  CHECK(schema_mistake([](OpSchema& s) { s.outputs[0].doc.clear(); }) == "output 'plan' has no doc");
  CHECK(schema_mistake([](OpSchema& s) { s.outputs.push_back(s.outputs[0]); }) ==
        "two of its outputs are named 'plan'");
}

TEST_CASE("mistakes in parameters are named") {
  CHECK(param_mistake(integer("ok", "Fine.")) == "none");
  CHECK(param_mistake(integer("rank", "Again.")) == "two of its inputs and parameters are named 'rank'");
  CHECK(param_mistake(integer("device", "Taken.")) ==
        "the name 'device' is reserved; also reserved: seed, stream, device, label");
  CHECK(param_mistake(integer("2d", "Bad name.")) ==
        "a parameter has the name '2d'; allowed: lower-case letters, digits and _, a letter first");
  CHECK(param_mistake(integer("n", "")) == "parameter 'n' has no doc");
  CHECK(param_mistake(integer("n", "Two\nlines.")) == "parameter 'n' has a doc of more than one line");
  CHECK(
      param_mistake(integer("n", "N.").range(1, 4).fall_back(5)) ==
      "parameter 'n' has a default that it does not allow: lora: n = 5 is out of range; allowed: an integer from 1 to "
      "4");
  CHECK(param_mistake(integer("n", "N.").fall_back(nullptr)) ==
        "parameter 'n' has a default that it does not allow: lora: n is nil; allowed: an integer");
  CHECK(param_mistake(integer("n", "N.").range(4, 1)) == "parameter 'n' has an empty range: 4 to 1");
  CHECK(param_mistake(real("n", "N.").above(1).below(1)) == "parameter 'n' has an empty range: 1 to 1");
  CHECK(param_mistake(text("n", "N.").range(1, 2)) == "parameter 'n' has a range but is no number");
  CHECK(param_mistake(choice("n", {}, "N.")) == "parameter 'n' is a choice of nothing");
  CHECK(param_mistake(choice("n", {"a", "a"}, "N.")) == "parameter 'n' has a choice twice");
  CHECK(param_mistake(list("n", ParamType::list, "N.")) == "parameter 'n' is a list of lists");
  CHECK(param_mistake(real("n", "N.").range(0, 1).searched(Search::log)) ==
        "parameter 'n' is searched on a log scale, but its range is not above 0");
  CHECK(param_mistake(text("n", "N.").searched(Search::linear)) ==
        "parameter 'n' cannot be searched in this way; allowed: numbers, and booleans and choices linearly");
  CHECK(param_mistake(recipe("n", "Not a type", "N.")) ==
        "parameter 'n' accepts 'Not a type'; allowed: 'name' or 'plugin/name'");
}
