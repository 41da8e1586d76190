#include "kernel/study/diff.h"

#include <algorithm>
#include <map>
#include <set>

#include "kernel/study/collect.h"

namespace colonnade::host {
namespace {

Json source_hashes(const Json& lock) {
  Json hashes = Json::object();
  for (const Json& source : lock.at("study").at("sources")) hashes["sources"][source.at("name")] = source.at("hash");
  return hashes;
}

std::vector<KeyDifference> compare_parts(const Json& first, const Json& second, const char* name) {
  return compare_keys(first.value(name, Json::object()), second.value(name, Json::object()));
}

Json key_record_of(const NodeRecord& node, const Store& store) {
  if (const Trace* trace = store.find_even_without_blobs(node.key)) return trace->key_record;
  Json inputs = Json::array();
  for (const NodeRecord::Input& input : node.inputs)
    inputs.push_back({{"role", input.role}, {"content", input.node.hex()}});
  return {
      {"op", node.op}, {"params", node.params}, {"inputs", inputs}, {"seed", node.seed ? Json(*node.seed) : Json()}};
}

bool only_inputs_differ(const std::vector<KeyDifference>& differences) {
  return !differences.empty() &&
         std::all_of(differences.begin(), differences.end(),
                     [](const KeyDifference& difference) { return difference.part.starts_with("inputs"); });
}

class NodeMatcher {
 public:
  NodeMatcher(const Store& store, RunDifference& result) : store_(store), result_(result) {}

  void match(const RunRecord& first, const RunRecord& second) {
    const auto in_first = reached_nodes(first.history);
    // Nodes that differ in structure alone can have one key.
    std::map<Hash, std::vector<const NodeRecord*>> by_key;
    for (const NodeRecord* node : reached_nodes(second.history)) by_key[node->key].push_back(node);
    std::set<const NodeRecord*> left(in_first.begin(), in_first.end());
    std::set<const NodeRecord*> matched;
    for (const NodeRecord* node : in_first) {
      const auto same = by_key.find(node->key);
      if (same == by_key.end() || !node->failure.empty()) continue;
      left.erase(node);
      const NodeRecord* other = same->second.front();
      matched.insert(same->second.begin(), same->second.end());
      if (other->contents != node->contents) {
        result_.other_contents.push_back({node, other, {}, false});
      } else {
        ++result_.same_nodes;
      }
    }
    std::vector<const NodeRecord*> others;
    for (const NodeRecord* node : reached_nodes(second.history)) {
      if (!matched.count(node)) others.push_back(node);
    }
    for (const NodeRecord* node : in_first) {
      if (left.count(node)) add_pair(*node, others);
    }
    for (const NodeRecord* node : others) result_.nodes.push_back({nullptr, node, {}, false});
  }

 private:
  void add_pair(const NodeRecord& node, std::vector<const NodeRecord*>& others) {
    NodePair pair{&node, nullptr, {}, false};
    const Json record = key_record_of(node, store_);
    for (const NodeRecord* other : others) {
      if (other->op != node.op) continue;
      auto differences = compare_keys(record, key_record_of(*other, store_));
      if (pair.second && differences.size() >= pair.differences.size()) continue;
      pair.second = other;
      pair.differences = std::move(differences);
    }
    if (pair.second) std::erase(others, pair.second);
    pair.only_inputs = only_inputs_differ(pair.differences);
    result_.nodes.push_back(std::move(pair));
  }

  const Store& store_;
  RunDifference& result_;
};

struct MetricValue {
  std::optional<double> number;
  std::string text;
  Hash content;
};

MetricValue value_of(const RunRecord& run, const MetricRecord& metric, const Store& store) {
  const NodeRecord* node = run.history.find(metric.node);
  if (!node) return {std::nullopt, "not evaluated", {}};
  if (!node->failure.empty()) return {std::nullopt, "failed", {}};
  const auto content = node->contents.find(metric.field);
  if (content == node->contents.end()) return {std::nullopt, "absent", {}};
  MetricValue value{std::nullopt, content->second.short_hex(), content->second};
  const Trace* trace = store.find_even_without_blobs(node->key);
  if (!trace || !trace->manifest.fields.count(metric.field)) return value;
  const FieldManifest& field = trace->manifest.fields.at(metric.field);
  const bool has_number = field.type == "scalar" && field.document.is_object() && field.document.contains("value") &&
                          field.document.at("value").is_number();
  if (has_number) value.number = field.document.at("value").get<double>();
  return value;
}

void compare_metrics(const RunRecord& first, const RunRecord& second, const Store& store, RunDifference& result) {
  std::map<std::tuple<std::string, std::uint64_t, std::string>, std::pair<MetricValue, MetricValue>> values;
  for (const TrialRecord& trial : first.history.trials) {
    for (const MetricRecord& metric : trial.metrics) {
      values[{trial.arm, trial.seed, metric.name}].first = value_of(first, metric, store);
    }
  }
  for (const TrialRecord& trial : second.history.trials) {
    for (const MetricRecord& metric : trial.metrics) {
      values[{trial.arm, trial.seed, metric.name}].second = value_of(second, metric, store);
    }
  }
  for (const auto& [name, pair] : values) {
    MetricPair metric;
    std::tie(metric.arm, metric.seed, metric.name) = name;
    metric.first = pair.first.number;
    metric.second = pair.second.number;
    metric.first_text = pair.first.text;
    metric.second_text = pair.second.text;
    metric.same = !pair.first.content.is_none() && pair.first.content == pair.second.content;
    result.metrics.push_back(std::move(metric));
  }
}

}  // namespace

RunDifference compare_runs(const RunRecord& first, const RunRecord& second, const Store& store) {
  RunDifference result;
  result.settings = compare_parts(first.lock, second.lock, "settings");
  result.code = compare_keys(source_hashes(first.lock), source_hashes(second.lock));
  for (KeyDifference& difference : compare_parts(first.lock, second.lock, "code")) {
    result.code.push_back(std::move(difference));
  }
  result.environment = compare_parts(first.lock, second.lock, "environment");
  if (first.lock.at("seeds") != second.lock.at("seeds")) {
    result.environment.push_back({"seeds", first.lock.at("seeds"), second.lock.at("seeds")});
  }
  NodeMatcher(store, result).match(first, second);
  compare_metrics(first, second, store, result);
  return result;
}

}  // namespace colonnade::host
