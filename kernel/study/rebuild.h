#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernel/graph/node.h"
#include "kernel/plugin/catalogue.h"
#include "kernel/study/record.h"

namespace colonnade::host {

// The nodes of a record as a graph again, seeds bound.
struct RebuiltGraph {
  std::map<const NodeRecord*, NodeRef> nodes;
  std::map<const Node*, const NodeRecord*> records;
  std::map<const NodeRecord*, std::string>
      missing;  // why a node could not be made: its op, or that of an input, is not there
};

// `order` has inputs before users. The factory must outlive the nodes' use.
RebuiltGraph rebuild_graph(const RunHistory& history, const std::vector<const NodeRecord*>& order,
                           const Catalogue& catalogue, NodeFactory& factory);

}  // namespace colonnade::host
