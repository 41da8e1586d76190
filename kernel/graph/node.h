#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "colonnade/hash.h"
#include "colonnade/schema.h"

namespace colonnade::host {

struct Node;
using NodeRef = std::shared_ptr<const Node>;

// One field of one node.
struct FieldRef {
  NodeRef node;
  std::string field;
};

struct NodeInput {
  std::string role;
  FieldRef from;
};

// Where the user wrote it: not part of the node's identity.
struct Where {
  std::string file;  // relative to the study's folder where it lies inside
  int line = 0;
};

// A number that is either fixed or bound per trial.
struct SeedBinding {
  bool symbolic = true;  // the trial's seed
  std::uint64_t value = 0;
};

// An op application. Immutable; two nodes with the same `structure` are the same node, whoever built them, and
// NodeFactory returns one object for both. Inputs follow the schema's order of roles.
struct Node {
  const OpSchema* schema = nullptr;  // owned by the catalogue, which outlives every node
  Json params;                       // complete and checked; paths absolute
  std::vector<NodeInput> inputs;
  std::optional<SeedBinding> seed;      // of ops that draw random numbers
  std::optional<std::uint64_t> stream;  // `stream = n` by the user
  std::string device;                   // "" follows the study
  std::string label;                    // shown to people, not part of the identity
  Where where;
  Hash structure;
  bool symbolic = false;  // it or an ancestor waits for the trial's seed

  // How often this node's op occurs among its ancestors along first inputs; the default stream.
  std::uint64_t occurrence = 0;

  std::string short_name() const;  // "train 3f2a1c": op's name and the structure's first digits
};

// Makes nodes and keeps one object a structure. Not thread-safe; one per graph.
class NodeFactory {
 public:
  // Fills in structure, symbolic, occurrence. `inputs` may be in any order of roles.
  NodeRef make(const OpSchema& schema, Json params, std::vector<NodeInput> inputs, std::optional<SeedBinding> seed,
               std::optional<std::uint64_t> stream, std::string device, std::string label, Where where);
  // The node with the trial's seed put in for the symbol, all the way up. A node that is not symbolic is returned as it
  // is.
  NodeRef bind(const NodeRef& node, std::uint64_t seed);
  FieldRef bind(const FieldRef& field, std::uint64_t seed);

 private:
  std::map<Hash, NodeRef> nodes_;
  std::map<std::pair<Hash, std::uint64_t>, NodeRef> bound_;
};

// All ancestors of the nodes and themselves, each once, inputs before users, in a deterministic order.
std::vector<NodeRef> topological_order(const std::vector<NodeRef>& targets);

}  // namespace colonnade::host
