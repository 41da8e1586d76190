#include "kernel/study/rebuild.h"

#include <fmt/format.h>

#include "colonnade/error.h"

namespace colonnade::host {
namespace {

NodeRef rebuild(const RunHistory& history, const NodeRecord& record, const RebuiltGraph& graph,
                const Catalogue& catalogue, NodeFactory& factory) {
  const OpSchema& schema = catalogue.resolve_op(record.op, "");
  std::vector<NodeInput> inputs;
  for (const NodeRecord::Input& input : record.inputs) {
    const NodeRecord* from = history.find(input.node);
    const auto node = graph.nodes.find(from);
    if (node == graph.nodes.end()) {
      throw Error(ErrorKind::environment, fmt::format("its input '{}' cannot be evaluated", input.role));
    }
    inputs.push_back({input.role, {node->second, input.field}});
  }
  std::optional<SeedBinding> seed;
  if (record.seed) seed = SeedBinding{false, *record.seed};
  return factory.make(schema, record.params, std::move(inputs), seed, record.stream, record.device, record.label,
                      {record.where, 0});
}

}  // namespace

RebuiltGraph rebuild_graph(const RunHistory& history, const std::vector<const NodeRecord*>& order,
                           const Catalogue& catalogue, NodeFactory& factory) {
  RebuiltGraph graph;
  for (const NodeRecord* record : order) {
    try {
      const NodeRef node = rebuild(history, *record, graph, catalogue, factory);
      graph.nodes[record] = node;
      graph.records[node.get()] = record;
    } catch (const Error& error) {
      graph.missing[record] = error.what();
    }
  }
  return graph;
}

}  // namespace colonnade::host
