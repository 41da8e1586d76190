#include <algorithm>
#include <unordered_map>

#include "colonnade/error.h"
#include "kernel/evaluate/estimates.h"
#include "kernel/evaluate/evaluator.h"
#include "kernel/evaluate/key_sources.h"

namespace colonnade::host {

namespace {

using Status = NodeForecast::Status;

// What a forecast knows of one node.
struct Prospect {
  const Trace* trace = nullptr;  // its contents are known, although its bytes may be gone
  bool needs_blobs = false;
};

class Forecast {
 public:
  Forecast(const EvaluatorOptions& options, const Catalogue& catalogue, Store& store)
      : options_(options),
        store_(store),
        sources_(make_key_sources(catalogue, options.cache_folder)),
        estimates_(store) {}

  std::vector<NodeForecast> of(const std::vector<NodeRef>& targets) {
    const std::vector<NodeRef> order = topological_order(targets);
    std::vector<NodeForecast> forecasts;
    for (const NodeRef& node : order) forecasts.push_back(look_up(node));
    for (const NodeRef& target : targets) prospects_[target.get()].needs_blobs = true;
    for (auto forecast = forecasts.rbegin(); forecast != forecasts.rend(); ++forecast) follow_needs(*forecast);
    count_users(targets, forecasts);
    for (NodeForecast& forecast : forecasts) {
      if (forecast.status == Status::found) continue;
      forecast.seconds = estimates_.seconds(*forecast.node);
      forecast.bytes = estimates_.bytes(*forecast.node);
    }
    return forecasts;
  }

 private:
  NodeForecast look_up(const NodeRef& node) {
    NodeForecast forecast;
    forecast.node = node;
    if (node->symbolic) return forecast;
    for (const NodeInput& input : node->inputs) {
      if (!prospects_[input.from.node.get()].trace) return forecast;
    }
    const auto manifest_of = [this](const NodeRef& input) -> const Manifest& {
      return prospects_[input.get()].trace->manifest;
    };
    const NodeKey key = make_key(*node, key_inputs(*node, manifest_of), options_.environment, sources_);
    Prospect& prospect = prospects_[node.get()];
    if (!options_.ignore_traces) prospect.trace = store_.find_even_without_blobs(key.key);
    forecast.status = prospect.trace ? Status::found : Status::to_compute;
    return forecast;
  }

  // Users come before their inputs here. What is computed reads its inputs, so those must have their bytes.
  void follow_needs(NodeForecast& forecast) {
    const Prospect& prospect = prospects_[forecast.node.get()];
    if (forecast.status == Status::found && prospect.needs_blobs && !store_.has_blobs(prospect.trace->manifest)) {
      forecast.status = Status::to_compute;
    }
    if (forecast.status == Status::found) return;
    for (const NodeInput& input : forecast.node->inputs) prospects_[input.from.node.get()].needs_blobs = true;
  }

  static void count_users(const std::vector<NodeRef>& targets, std::vector<NodeForecast>& forecasts) {
    std::unordered_map<const Node*, int> users;
    for (const NodeRef& target : targets) ++users[target.get()];
    for (const NodeForecast& forecast : forecasts) {
      std::set<const Node*> used;
      for (const NodeInput& input : forecast.node->inputs) used.insert(input.from.node.get());
      for (const Node* node : used) ++users[node];
    }
    for (NodeForecast& forecast : forecasts) forecast.users = users[forecast.node.get()];
  }

  const EvaluatorOptions& options_;
  Store& store_;
  KeySources sources_;
  Estimates estimates_;
  std::unordered_map<const Node*, Prospect> prospects_;
};

}  // namespace

std::vector<NodeForecast> forecast(const std::vector<NodeRef>& targets, const EvaluatorOptions& options,
                                   const Catalogue& catalogue, Store& store) {
  return Forecast(options, catalogue, store).of(targets);
}

}  // namespace colonnade::host
