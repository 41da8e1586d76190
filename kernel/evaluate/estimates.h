#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernel/evaluate/evaluator.h"
#include "kernel/graph/node.h"
#include "kernel/store/store.h"

namespace colonnade::host {

// What nodes will cost, from what their ops cost on this store before: seconds and bytes per unit that the schema's
// expressions give, or on average where it has none. Evaluations with the node's own parameters (another seed, another
// input) count alone where there are any, since rates depend on more than the units. Nothing for an op that was never
// evaluated.
class Estimates {
 public:
  explicit Estimates(const Store& store) : store_(store) {}

  std::optional<CostEstimate> seconds(const Node& node) { return estimate(node, node.schema->work, &Past::seconds); }
  std::optional<double> bytes(const Node& node);
  // What the op declares; nothing if it does not (or its expression fails).
  static std::optional<double> declared_memory(const Node& node);
  // What it declares, else the most it has used.
  std::optional<double> memory(const Node& node);

 private:
  struct Sample {
    Hash params;
    double cost = 0, units = 0;
  };
  using Samples = std::vector<Sample>;
  struct Past {
    Samples seconds, bytes;
    double peak_memory = 0;
    bool any = false;
  };
  const Past& past_of(const OpSchema& schema);
  std::optional<CostEstimate> estimate(const Node& node, const std::string& expression, Samples Past::*samples);

  const Store& store_;
  std::map<std::string, Past> past_;
};

}  // namespace colonnade::host
