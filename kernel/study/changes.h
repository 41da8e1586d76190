#pragma once

#include <string>
#include <vector>

#include "kernel/evaluate/evaluator.h"
#include "kernel/study/rebuild.h"

namespace colonnade::host {

// A part of what determines results that is not now what a run recorded.
struct Change {
  std::string part;  // as in keys: "code.PLUGIN", "params.path", "environment.threads"
  std::string text;  // a sentence for people
};

// Found before anything is evaluated, by comparing the keys that the nodes have now, on their recorded inputs, with the
// recorded ones: other code of a plugin or LibTorch, other contents of a path, another machine or environment; and what
// is gone.
std::vector<Change> find_changes(const RunRecord& run, const std::vector<const NodeRecord*>& order,
                                 const RebuiltGraph& graph, const Store& store, const NumericEnvironment& environment,
                                 const KeySources& sources);

// A stored value whose bytes are not what the run recorded.
struct Damage {
  const NodeRecord* node = nullptr;
  std::string field, tensor;  // "" the document
  std::string text;
};
// Reads all that is kept of the nodes' values.
std::vector<Damage> find_damage(const std::vector<const NodeRecord*>& order, Store& store);

}  // namespace colonnade::host
