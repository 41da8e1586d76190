#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/graph/keys.h"
#include "kernel/store/store.h"
#include "kernel/study/record.h"

namespace colonnade::host {

// A node that one run has and the other has not, with its counterpart: the node of the same op in the other run whose
// key differs in the fewest parts.
struct NodePair {
  const NodeRecord* first = nullptr;
  const NodeRecord* second = nullptr;  // one of the two may be null
  std::vector<KeyDifference> differences;
  bool only_inputs = false;  // differs because an earlier node does
};

struct MetricPair {
  std::string arm, name;                // `arm` is "" for a shared metric
  std::uint64_t seed = 0;               // of no arm: 0
  std::optional<double> first, second;  // of scalars
  std::string first_text, second_text;  // of other values: their contents
  bool same = false;
};

struct RunDifference {
  std::vector<KeyDifference> settings, code, environment;  // of the locks; `code` of sources too, as "sources.NAME"
  std::vector<NodePair> nodes;
  int same_nodes = 0;
  std::vector<NodePair> other_contents;  // one key, two values
  std::vector<MetricPair> metrics;
};

// Both runs and the store must outlive the result.
RunDifference compare_runs(const RunRecord& first, const RunRecord& second, const Store& store);

}  // namespace colonnade::host
