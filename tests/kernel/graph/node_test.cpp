#include "kernel/graph/node.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"

using namespace colonnade;
using namespace colonnade::host;

namespace {

OpSchema schema(const std::string& name, std::vector<InputSpec> inputs) {
  OpSchema result;
  result.plugin = "good";
  result.name = name;
  result.inputs = std::move(inputs);
  result.outputs = {{"value", "record", "a value"}};
  return result;
}

struct Graph {
  OpSchema source = schema("source", {});
  OpSchema noise = schema("noise", {{"from", "record", "what to change"}, {"by", "record", "how", true, false}});
  NodeFactory factory;

  NodeRef make_source(int number) { return factory.make(source, {{"number", number}}, {}, {}, {}, "", "", {}); }
  NodeRef make_noise(const NodeRef& from, std::optional<SeedBinding> seed = SeedBinding{}) {
    return factory.make(noise, Json::object(), {{"from", {from, "value"}}}, seed, {}, "", "", {});
  }
};

}  // namespace

TEST_CASE("Equal nodes are one object, whatever they are called", "[node]") {
  Graph graph;
  const NodeRef one = graph.make_source(1);
  CHECK(one == graph.factory.make(graph.source, {{"number", 1}}, {}, {}, {}, "", "a name", {"study.lua", 12}));
  CHECK(one != graph.make_source(2));
  CHECK(one != graph.factory.make(graph.source, {{"number", 1.0}}, {}, {}, {}, "", "", {}));
  CHECK(one != graph.factory.make(graph.source, {{"number", 1}}, {}, {}, {}, "cuda", "", {}));
  CHECK(one != graph.factory.make(graph.source, {{"number", 1}}, {}, SeedBinding{}, {}, "", "", {}));
  CHECK(one != graph.factory.make(graph.source, {{"number", 1}}, {}, {}, 1, "", "", {}));
}

TEST_CASE("Inputs come into the schema's order of roles; unknown roles are refused", "[node]") {
  Graph graph;
  const FieldRef one = {graph.make_source(1), "value"}, two = {graph.make_source(2), "value"};
  const NodeRef node =
      graph.factory.make(graph.noise, Json::object(), {{"by", two}, {"from", one}}, {}, {}, "", "", {});
  REQUIRE(node->inputs.size() == 2);
  CHECK(node->inputs[0].role == "from");
  CHECK(node == graph.factory.make(graph.noise, Json::object(), {{"from", one}, {"by", two}}, {}, {}, "", "", {}));
  CHECK(node != graph.factory.make(graph.noise, Json::object(), {{"from", two}, {"by", one}}, {}, {}, "", "", {}));
  CHECK_THROWS_WITH(graph.factory.make(graph.noise, Json::object(), {{"form", one}}, {}, {}, "", "", {}),
                    "good/noise has no input 'form'; did you mean 'from'?");
}

TEST_CASE("A seed is bound all the way up, and what needs none is shared", "[node]") {
  Graph graph;
  const NodeRef source = graph.make_source(1);
  const NodeRef once = graph.make_noise(source), twice = graph.make_noise(once);
  const NodeRef fixed = graph.make_noise(source, SeedBinding{false, 5});
  CHECK(twice->symbolic);
  CHECK_FALSE(fixed->symbolic);
  CHECK(graph.factory.bind(fixed, 3) == fixed);
  const NodeRef bound = graph.factory.bind(twice, 3);
  CHECK_FALSE(bound->symbolic);
  CHECK(bound->seed->value == 3);
  CHECK(bound->inputs[0].from.node->seed->value == 3);
  CHECK(bound->inputs[0].from.node->inputs[0].from.node == source);
  CHECK(bound == graph.factory.bind(twice, 3));
  CHECK(bound != graph.factory.bind(twice, 4));
  CHECK(graph.factory.bind(once, 5) == fixed);
}

TEST_CASE("Occurrence counts the same op along first inputs", "[node]") {
  Graph graph;
  const NodeRef first = graph.make_noise(graph.make_source(1));
  const NodeRef second = graph.make_noise(first);
  CHECK(first->occurrence == 0);
  CHECK(second->occurrence == 1);
  CHECK(graph.make_noise(second)->occurrence == 2);
  const NodeRef beside =
      graph.factory.make(graph.noise, Json::object(),
                         {{"from", {graph.make_source(2), "value"}}, {"by", {second, "value"}}}, {}, {}, "", "", {});
  CHECK(beside->occurrence == 0);
}

TEST_CASE("A chain of ten thousand nodes is bound and ordered", "[node]") {
  constexpr std::size_t kLength = 10000;
  Graph graph;
  NodeRef node = graph.make_source(1);
  for (std::size_t i = 0; i < kLength; ++i) node = graph.make_noise(node);
  const std::vector<NodeRef> order = topological_order({graph.factory.bind(node, 1)});
  REQUIRE(order.size() == kLength + 1);
  CHECK(order.front()->schema->name == "source");
  for (std::size_t i = 1; i < order.size(); ++i) REQUIRE(order[i]->inputs[0].from.node == order[i - 1]);
}

TEST_CASE("The order of a diamond has each node once, inputs first", "[node]") {
  Graph graph;
  const NodeRef top = graph.make_source(1);
  const NodeRef left = graph.make_noise(top), right = graph.make_noise(top, SeedBinding{false, 1});
  const NodeRef bottom = graph.factory.make(graph.noise, Json::object(),
                                            {{"from", {left, "value"}}, {"by", {right, "value"}}}, {}, {}, "", "", {});
  CHECK(topological_order({bottom, left}) == std::vector<NodeRef>{top, left, right, bottom});
}
