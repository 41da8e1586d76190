#include "colonnade/run_op.h"

#include <catch2/catch.hpp>
#include <stdexcept>

#include "colonnade/registry.h"

using namespace colonnade;

namespace {

Value one(const std::string& name, Field field) {
  Value value;
  value.fields.emplace(name, std::move(field));
  return value;
}

Value number(double value) {
  Scalar scalar;
  scalar.value = value;
  return one("result", to_field(scalar));
}

OpDeclaration& declare(Registrar& registrar, const std::string& name) {
  return registrar.op(name).doc("For a test.").output("result", "scalar", "A number.");
}

Value add(OpContext& context) {
  double sum = context.param<double>("offset");
  sum += scalar_from(context.input("first")).value;
  for (const Field* field : context.inputs("rest")) sum += scalar_from(*field).value;
  if (context.has_input("extra")) sum += scalar_from(context.input("extra")).value;
  return number(sum);
}

Value call_inner(OpContext& context) {
  return context.call(context.recipe_param("inner"), {}, "step");
}

Value report(OpContext& context) {
  context.progress(1, 2, "steps", {{"loss", 0.5}});
  context.log("a line");
  const std::optional<Value> saved = context.load_checkpoint();
  if (context.checkpoint_due()) context.save_checkpoint(number(7));
  return number(saved ? scalar_from(saved->at("result")).value : 0);
}

double read_as_asked(const OpContext& context) {
  const auto how = context.param<std::string>("how");
  if (how == "real as integer") return static_cast<double>(context.param<std::int64_t>("smoothing"));
  if (how == "boolean as integer") return static_cast<double>(context.param<std::int64_t>("flag"));
  if (how == "integer as text") return static_cast<double>(context.param<std::string>("count").size());
  if (how == "integer as byte") return context.param<std::uint8_t>("count");
  if (how == "list as integers") return static_cast<double>(context.param<std::vector<std::int64_t>>("shares").size());
  if (how == "list as one") return context.param<double>("shares");
  if (how == "misspelt") return context.param<double>("smoothign");
  if (how == "left out") return context.param<double>("limit");
  if (how == "not a recipe") return static_cast<double>(context.recipe_param("count").op.size());
  return context.param<double>("count") + context.param<std::vector<double>>("shares").at(0);
}

Value read_as(OpContext& context) {
  return number(read_as_asked(context));
}

void register_arithmetic(Registrar& registrar) {
  declare(registrar, "add")
      .input("first", "scalar", "A number.")
      .many_input("rest", "scalar", "More numbers.")
      .optional_input("extra", "any", "One more.")
      .param(real("offset", "Added too.").range(0, 10).fall_back(1))
      .run(add);
  declare(registrar, "read_absent").optional_input("extra", "any", "One more.").run([](OpContext& context) {
    return number(scalar_from(context.input("extra")).value);
  });
  declare(registrar, "report").run(report);
  declare(registrar, "reads_as")
      .param(real("smoothing", "A number.").fall_back(0.9))
      .param(integer("count", "How many.").fall_back(300))
      .param(boolean("flag", "Whether.").fall_back(true))
      .param(list("shares", ParamType::real, "Numbers.").fall_back(Json::array({0.5})))
      .param(real("limit", "Perhaps a number.").optional())
      .param(text("how", "What to read.").fall_back(""))
      .run(read_as);
}

void register_random(Registrar& registrar) {
  declare(registrar, "draw").random().run([](OpContext& context) { return number(context.random().uniform(0)); });
  declare(registrar, "draw_fixed").fixed_stream().run([](OpContext& context) {
    return number(context.random().uniform(0));
  });
  declare(registrar, "draw_undeclared").run([](OpContext& context) { return number(context.random().uniform(0)); });
  declare(registrar, "seed_undeclared").run([](OpContext& context) {
    return number(static_cast<double>(context.seed()));
  });
  declare(registrar, "outer").random().param(recipe("inner", "", "Called.")).run(call_inner);
  declare(registrar, "outer_plain").param(recipe("inner", "", "Called.")).run(call_inner);
  declare(registrar, "calls_twice").random().param(recipe("inner", "", "Called.")).run([](OpContext& context) {
    const Recipe inner = context.recipe_param("inner");
    const double first = scalar_from(context.call(inner, {}, "first").at("result")).value;
    return number(first - scalar_from(context.call(inner, {}, "second").at("result")).value);
  });
  declare(registrar, "unsteady").stochastic().run([](OpContext&) { return number(1); });
  declare(registrar, "endless").run([](OpContext& context) {
    return context.call({"demo/endless", Json::object()}, {}, "again");
  });
}

void register_faulty(Registrar& registrar) {
  declare(registrar, "throws").run([](OpContext&) -> Value { throw std::runtime_error("broken"); });
  declare(registrar, "throws_frames").run([](OpContext&) -> Value {
    throw std::runtime_error("no memory\nException raised from alloc at alloc.cpp:1\nframe #0: alloc");
  });
  declare(registrar, "throws_frames_alone").run([](OpContext&) -> Value {
    throw std::runtime_error("can't allocate memory\nframe #0: alloc");
  });
  declare(registrar, "throws_int").run([](OpContext&) -> Value { throw 3; });
  declare(registrar, "throws_error").run([](OpContext&) -> Value { throw Error(ErrorKind::input, "bad data"); });
  declare(registrar, "asks_unknown_param").run([](OpContext& context) { return number(context.param<double>("x")); });
  declare(registrar, "gives_nothing").run([](OpContext&) { return Value(); });
  declare(registrar, "gives_other_type").run([](OpContext&) { return one("result", record_field(1)); });
  declare(registrar, "gives_too_much").run([](OpContext&) {
    Value value = number(1);
    value.fields.emplace("surplus", record_field(1));
    return value;
  });
}

RunRequest request(const std::string& name, Json params = Json::object()) {
  static const bool registered = [] {
    Registrar registrar("demo");
    register_arithmetic(registrar);
    register_random(registrar);
    register_faulty(registrar);
    Registry::instance().commit(std::move(registrar));
    return true;
  }();
  REQUIRE(registered);
  RunRequest result;
  result.op = "demo/" + name;
  result.params = std::move(params);
  return result;
}

double run(const RunRequest& what) {
  return scalar_from(run_op(what).at("result")).value;
}

Field scalar(double value) {
  return number(value).at("result");
}

Json inner(const std::string& name) {
  Json params = Json::object();
  params["inner"] = Json::object();
  params["inner"]["op"] = "demo/" + name;
  return params;
}

ErrorKind kind_of_failure(const RunRequest& what) {
  try {
    run_op(what);
  } catch (const Error& error) {
    return error.kind();
  }
  FAIL("it did not fail");
  return ErrorKind::op;
}

}  // namespace

TEST_CASE("an op gets its inputs by role and its parameters completed") {
  RunRequest add = request("add");
  add.inputs = {{"rest", scalar(10)}, {"first", scalar(1)}, {"rest", scalar(20)}};
  CHECK(run(add) == 32);
  add.inputs.emplace_back("extra", scalar(100));
  add.params["offset"] = 2;
  CHECK(run(add) == 133);
}

TEST_CASE("inputs that do not fit are named") {
  RunRequest add = request("add");
  add.inputs = {{"first", scalar(1)}};
  CHECK_THROWS_WITH(run_op(add), "op demo/add: input 'rest' of type 'scalar' is missing");
  add.inputs = {{"first", scalar(1)}, {"first", scalar(1)}, {"rest", scalar(1)}};
  CHECK_THROWS_WITH(run_op(add), "op demo/add: input 'first' was given more than once; allowed: one");
  add.inputs = {{"frist", scalar(1)}};
  CHECK_THROWS_WITH(run_op(add),
                    "op demo/add: no input is named 'frist'; did you mean 'first'? It has: first, rest, extra");
  add.inputs = {{"first", record_field(1)}, {"rest", scalar(1)}};
  CHECK_THROWS_WITH(run_op(add), "op demo/add: input 'first' is of type 'record'; allowed: scalar");
  CHECK(kind_of_failure(add) == ErrorKind::usage);
  CHECK_THROWS_WITH(run_op(request("read_absent")),
                    "op demo/read_absent: it reads the input 'extra', which was not given");
}

TEST_CASE("parameters that do not fit are named") {
  RunRequest add = request("add", {{"offset", 11}});
  CHECK_THROWS_WITH(run_op(add), "op demo/add: add: offset = 11 is out of range; allowed: a number from 0 to 10");
  add.params = {{"ofset", 1}};
  CHECK_THROWS_WITH(run_op(add),
                    "op demo/add: unknown parameter 'ofset' of add; did you mean 'offset'? It has: offset");
}

TEST_CASE("a parameter is read as what it is declared to be") {
  const auto read = [](const std::string& how) { return run(request("reads_as", {{"how", how}})); };
  CHECK(read("") == 300.5);  // an integer as a real number: nothing is lost
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"real as integer", "parameter 'smoothing' is declared real, read as integer"},
      {"boolean as integer", "parameter 'flag' is declared boolean, read as integer"},
      {"integer as text", "parameter 'count' is declared integer, read as string"},
      {"list as integers", "parameter 'shares' is declared a list of real, read as a list of integer"},
      {"list as one", "parameter 'shares' is declared a list of real, read as real"},
      {"not a recipe", "parameter 'count' is declared integer, read as recipe"},
      {"misspelt", "it reads the parameter 'smoothign', which it does not declare; did you mean 'smoothing'?"},
      {"left out", "it reads the parameter 'limit', which was left out; has_param asks about that"},
  };
  for (const auto& [how, message] : wrong) CHECK_THROWS_WITH(read(how), "op demo/reads_as: " + message);
  CHECK_THROWS_WITH(read("integer as byte"), Catch::Contains("parameter 'count' is 300, more or less than"));
  CHECK(kind_of_failure(request("reads_as", {{"how", "misspelt"}})) == ErrorKind::op);
}

TEST_CASE("an op that is not loaded is named") {
  CHECK_THROWS_WITH(run_op(request("ad")),
                    Catch::StartsWith("no op 'demo/ad' is loaded; did you mean 'demo/add'? Loaded: "));
}

TEST_CASE("whatever an op throws becomes an error with its name") {
  CHECK_THROWS_WITH(run_op(request("throws")), "op demo/throws: broken");
  CHECK(kind_of_failure(request("throws")) == ErrorKind::op);
  CHECK_THROWS_WITH(run_op(request("throws_frames")), "op demo/throws_frames: no memory");
  CHECK_THROWS_WITH(run_op(request("throws_frames_alone")), "op demo/throws_frames_alone: can't allocate memory");
  CHECK_THROWS_WITH(run_op(request("throws_int")),
                    "op demo/throws_int: it threw something that is not a std::exception");
  CHECK_THROWS_WITH(run_op(request("throws_error")), "op demo/throws_error: bad data");
  CHECK(kind_of_failure(request("throws_error")) == ErrorKind::input);
  CHECK_THROWS_WITH(run_op(request("asks_unknown_param")),
                    Catch::StartsWith("op demo/asks_unknown_param: ") && Catch::Contains("'x'"));
}

TEST_CASE("outputs are what the schema says") {
  CHECK_THROWS_WITH(run_op(request("gives_nothing")), "op demo/gives_nothing: it gave no output 'result'");
  CHECK_THROWS_WITH(run_op(request("gives_other_type")),
                    "op demo/gives_other_type: its output 'result' is of type 'record', declared as 'scalar'");
  CHECK_THROWS_WITH(run_op(request("gives_too_much")),
                    "op demo/gives_too_much: it gave an output 'surplus' that it does not declare; declared: result");
}

TEST_CASE("progress, log and checkpoints reach the surroundings") {
  RunRequest what = request("report");
  CHECK(run(what) == 0);
  std::string seen;
  std::optional<Value> saved;
  what.progress = [&](std::int64_t done, std::int64_t total, const std::string& unit, const auto& metrics) {
    seen += std::to_string(done) + "/" + std::to_string(total) + " " + unit + " " + metrics.at(0).first + ";";
  };
  what.log = [&](const std::string& line) { seen += line; };
  what.checkpoint_due = [] { return true; };
  what.save_checkpoint = [&](const Value& state) { saved = state; };
  what.load_checkpoint = [&] { return saved; };
  CHECK(run(what) == 0);
  CHECK(seen == "1/2 steps loss;a line");
  REQUIRE(saved.has_value());
  CHECK(run(what) == 7);
}

TEST_CASE("a cancelled op ends as cancelled, also from within a call") {
  RunRequest what = request("report");
  what.progress = [](std::int64_t, std::int64_t, const std::string&, const auto&) { throw Cancelled(); };
  CHECK_THROWS_AS(run_op(what), Cancelled);
  what.op = "demo/outer_plain";
  what.params = inner("report");
  CHECK_THROWS_AS(run_op(what), Cancelled);
}

TEST_CASE("random numbers depend on seed, op and occurrence") {
  RunRequest draw = request("draw");
  const double first = run(draw);
  CHECK(first == RandomStream(0).at("demo/draw").at(0).uniform(0));
  CHECK(run(draw) == first);
  draw.occurrence = 1;
  CHECK(run(draw) != first);
  draw.occurrence = 0;
  draw.seed = 1;
  CHECK(run(draw) != first);
  CHECK(run(request("draw_fixed")) != first);
}

TEST_CASE("a fixed stream is the same at every occurrence but not under every seed") {
  RunRequest draw = request("draw_fixed");
  const double first = run(draw);
  draw.occurrence = 1;
  CHECK(run(draw) == first);
  draw.seed = 1;
  CHECK(run(draw) != first);
}

TEST_CASE("an op that draws without saying so is caught") {
  CHECK_THROWS_WITH(run_op(request("draw_undeclared")),
                    "op demo/draw_undeclared: it draws random numbers, but is not declared random()");
  CHECK_THROWS_WITH(run_op(request("seed_undeclared")),
                    "op demo/seed_undeclared: it draws random numbers, but is not declared random()");
  CHECK_THROWS_WITH(run_op(request("outer_plain", inner("draw"))),
                    "op demo/outer_plain: it calls 'demo/draw', which draws random numbers, but is not declared "
                    "random() itself");
}

TEST_CASE("an op may call others, with streams of their own") {
  const double nested = run(request("outer", inner("draw")));
  CHECK(nested == RandomStream(0).at("demo/outer").at(0).at("step").at("demo/draw").uniform(0));
  CHECK(nested != run(request("draw")));
  CHECK(run(request("calls_twice", inner("draw"))) != 0);
  CHECK(run(request("calls_twice", inner("report"))) == 0);
}

TEST_CASE("failures of a called op name the whole chain") {
  CHECK_THROWS_WITH(run_op(request("outer", inner("throws"))), "op demo/outer: op demo/throws: broken");
  CHECK_THROWS_WITH(run_op(request("outer", inner("drow"))),
                    Catch::StartsWith("op demo/outer: no op 'demo/drow' is loaded; did you mean 'demo/draw'?"));
  CHECK_THROWS_WITH(run_op(request("outer_plain", inner("unsteady"))),
                    "op demo/outer_plain: it calls 'demo/unsteady', whose results are less repeatable than it "
                    "declares");
  CHECK_THROWS_WITH(run_op(request("endless")), Catch::Contains("ops call each other more than 64 deep"));
}

TEST_CASE("the progress of a called op names the call") {
  RunRequest what = request("outer", inner("report"));
  std::string seen;
  what.progress = [&](std::int64_t, std::int64_t, const std::string& unit, const auto&) { seen += unit; };
  what.checkpoint_due = [] { return true; };
  what.save_checkpoint = [&](const Value&) { seen += " saved"; };
  run_op(what);
  CHECK(seen == "step: steps");
}

TEST_CASE("a recipe reads from its document") {
  const Recipe recipe = Recipe::from_json(Json::parse(R"({"op": "a/b", "params": {"x": 1}})"));
  CHECK(recipe.op == "a/b");
  CHECK(recipe.params.at("x") == 1);
  CHECK(Recipe::from_json(Json::parse(R"({"op": "a/b"})")).params == Json::object());
  CHECK_THROWS_WITH(Recipe::from_json(3),
                    "not a recipe: 3 is no object; allowed: {\"op\": \"plugin/op\", \"params\": {...}}");
  CHECK_THROWS_AS(Recipe::from_json(Json::object()), Error);
  CHECK_THROWS_AS(Recipe::from_json(Json::parse(R"({"op": "a/b", "params": 1})")), Error);
}
