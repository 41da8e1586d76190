#pragma once

#include <map>
#include <optional>
#include <string>

#include "kernel/graph/node.h"
#include "kernel/store/store.h"

namespace colonnade::host {

// What nodes will cost, from what their ops cost on this store before: seconds and bytes per unit that the schema's
// expressions give, or on average where it has none. Nothing for an op that was never evaluated.
class Estimates {
 public:
  explicit Estimates(const Store& store) : store_(store) {}

  std::optional<double> seconds(const Node& node) { return estimate(node, node.schema->work, &Past::seconds); }
  std::optional<double> bytes(const Node& node);
  // What the op declares; nothing if it does not (or its expression fails).
  static std::optional<double> declared_memory(const Node& node);
  // What it declares, else the most it has used.
  std::optional<double> memory(const Node& node);

 private:
  struct Sum {
    double total = 0, units = 0;
  };
  struct Past {
    Sum seconds, bytes;
    double peak_memory = 0;
    bool any = false;
  };
  const Past& past_of(const OpSchema& schema);
  std::optional<double> estimate(const Node& node, const std::string& expression, Sum Past::*sum);

  const Store& store_;
  std::map<std::string, Past> past_;
};

}  // namespace colonnade::host
