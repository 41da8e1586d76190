#include "kernel/graph/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "colonnade/encode.h"
#include "colonnade/error.h"

namespace colonnade::host {

namespace {

constexpr std::size_t kShortDigits = 6;

std::size_t role_position(const OpSchema& schema, const std::string& role) {
  for (std::size_t i = 0; i < schema.inputs.size(); ++i) {
    if (schema.inputs[i].role == role) return i;
  }
  std::vector<std::string> roles;
  for (const InputSpec& input : schema.inputs) roles.push_back(input.role);
  throw Error(ErrorKind::usage, fmt::format("{} has no input '{}'{}", schema.id(), role, did_you_mean(role, roles)));
}

void sort_by_role(const OpSchema& schema, std::vector<NodeInput>& inputs) {
  std::stable_sort(inputs.begin(), inputs.end(), [&](const NodeInput& a, const NodeInput& b) {
    return role_position(schema, a.role) < role_position(schema, b.role);
  });
  for (const NodeInput& input : inputs) role_position(schema, input.role);  // also where there is only one
}

Hash hash_structure(const Node& node) {
  Json inputs = Json::array();
  for (const NodeInput& input : node.inputs) {
    inputs.push_back(Json::array({input.role, input.from.node->structure.hex(), input.from.field}));
  }
  Json seed;
  if (node.seed) seed = node.seed->symbolic ? Json("trial") : Json(node.seed->value);
  const Json document = {
      {"op", node.schema->id()}, {"params", node.params},
      {"inputs", inputs},        {"seed", seed},
      {"device", node.device},   {"stream", node.stream ? Json(*node.stream) : Json()},
  };
  return hash_bytes(encode(document));
}

// The node that the op is a method of, nullptr if it was given none.
const Node* first_input(const Node& node) {
  if (node.inputs.empty() || node.inputs.front().role != node.schema->inputs.front().role) return nullptr;
  return node.inputs.front().from.node.get();
}

std::uint64_t count_occurrence(const Node& node) {
  for (const Node* ancestor = first_input(node); ancestor; ancestor = first_input(*ancestor)) {
    if (ancestor->schema->id() == node.schema->id()) return ancestor->occurrence + 1;
  }
  return 0;
}

}  // namespace

std::string Node::short_name() const {
  return fmt::format("{} {}", schema->name, structure.hex().substr(0, kShortDigits));
}

NodeRef NodeFactory::make(const OpSchema& schema, Json params, std::vector<NodeInput> inputs,
                          std::optional<SeedBinding> seed, std::optional<std::uint64_t> stream, std::string device,
                          std::string label, Where where) {
  auto node = std::make_shared<Node>();
  node->schema = &schema;
  node->params = std::move(params);
  node->inputs = std::move(inputs);
  sort_by_role(schema, node->inputs);
  node->seed = seed;
  if (node->seed && node->seed->symbolic) node->seed->value = 0;
  node->stream = stream;
  node->device = std::move(device);
  node->label = std::move(label);
  node->where = std::move(where);
  node->structure = hash_structure(*node);
  const auto known = nodes_.find(node->structure);
  if (known != nodes_.end()) return known->second;

  node->symbolic = (node->seed && node->seed->symbolic) ||
                   std::any_of(node->inputs.begin(), node->inputs.end(),
                               [](const NodeInput& input) { return input.from.node->symbolic; });
  node->occurrence = count_occurrence(*node);
  nodes_.emplace(node->structure, node);
  return node;
}

NodeRef NodeFactory::bind(const NodeRef& node, std::uint64_t seed) {
  if (!node->symbolic) return node;
  // A stack of its own: a chain of thousands of nodes must not exhaust the thread's.
  std::vector<NodeRef> pending = {node};
  while (!pending.empty()) {
    const NodeRef current = pending.back();
    if (bound_.count({current->structure, seed})) {
      pending.pop_back();
      continue;
    }
    const std::size_t before = pending.size();
    std::vector<NodeInput> inputs = current->inputs;
    for (NodeInput& input : inputs) {
      if (!input.from.node->symbolic) continue;
      const auto known = bound_.find({input.from.node->structure, seed});
      if (known == bound_.end()) {
        pending.push_back(input.from.node);
      } else {
        input.from.node = known->second;
      }
    }
    if (pending.size() > before) continue;
    std::optional<SeedBinding> binding = current->seed;
    if (binding && binding->symbolic) binding = SeedBinding{false, seed};
    bound_[{current->structure, seed}] = make(*current->schema, current->params, std::move(inputs), binding,
                                              current->stream, current->device, current->label, current->where);
    pending.pop_back();
  }
  return bound_.at({node->structure, seed});
}

FieldRef NodeFactory::bind(const FieldRef& field, std::uint64_t seed) {
  return {bind(field.node, seed), field.field};
}

std::vector<NodeRef> topological_order(const std::vector<NodeRef>& targets) {
  struct Visit {
    NodeRef node;
    std::size_t next_input = 0;
  };
  std::vector<NodeRef> order;
  std::set<const Node*> seen;
  std::vector<Visit> stack;
  for (const NodeRef& target : targets) {
    if (!seen.insert(target.get()).second) continue;
    stack.push_back({target});
    while (!stack.empty()) {
      Visit& visit = stack.back();
      if (visit.next_input == visit.node->inputs.size()) {
        order.push_back(visit.node);
        stack.pop_back();
        continue;
      }
      const NodeRef input = visit.node->inputs[visit.next_input++].from.node;
      if (seen.insert(input.get()).second) stack.push_back({input});
    }
  }
  return order;
}

}  // namespace colonnade::host
