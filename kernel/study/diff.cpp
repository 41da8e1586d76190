#include "kernel/study/diff.h"

#include <algorithm>
#include <map>
#include <set>

#include "kernel/study/collect.h"

namespace colonnade::host {
namespace {

constexpr const char* shared_arm = "";  // no arm is called so

Json source_hashes(const Json& lock) {
  Json hashes = Json::object();
  for (const Json& source : lock.at("study").at("sources")) hashes["sources"][source.at("name")] = source.at("hash");
  return hashes;
}

std::vector<KeyDifference> compare_parts(const Json& first, const Json& second, const char* name) {
  return compare_keys(first.value(name, Json::object()), second.value(name, Json::object()));
}

// As much of a key record as a journal tells.
Json recorded_key(const NodeRecord& node, const RunHistory& history) {
  Json inputs = Json::array();
  for (const NodeRecord::Input& input : node.inputs) {
    const NodeRecord* from = history.find(input.node);
    const bool known = from && from->contents.count(input.field);
    inputs.push_back({{"role", input.role}, {"content", known ? Json(from->contents.at(input.field).hex()) : Json()}});
  }
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
  NodeMatcher(const Store& store, const RunHistory& first, const RunHistory& second, RunDifference& result)
      : store_(store), first_(first), second_(second), result_(result) {}

  void match() {
    const auto in_first = reached_nodes(first_);
    // Nodes that differ in structure alone can have one key.
    std::map<Hash, std::vector<const NodeRecord*>> by_key;
    for (const NodeRecord* node : reached_nodes(second_)) by_key[node->key].push_back(node);
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
    for (const NodeRecord* node : reached_nodes(second_)) {
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
    for (const NodeRecord* other : others) {
      if (other->op != node.op) continue;
      auto differences = compare(node, *other);
      if (pair.second && differences.size() >= pair.differences.size()) continue;
      pair.second = other;
      pair.differences = std::move(differences);
    }
    if (pair.second) std::erase(others, pair.second);
    pair.only_inputs = only_inputs_differ(pair.differences);
    result_.nodes.push_back(std::move(pair));
  }

  // As the store knows them; if it has forgotten one of them, both as the journals do.
  std::vector<KeyDifference> compare(const NodeRecord& node, const NodeRecord& other) const {
    const Trace* first = store_.find_even_without_blobs(node.key);
    const Trace* second = store_.find_even_without_blobs(other.key);
    if (first && second) return compare_keys(first->key_record, second->key_record);
    return compare_keys(recorded_key(node, first_), recorded_key(other, second_));
  }

  const Store& store_;
  const RunHistory &first_, &second_;
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
  const auto collect = [&](const RunRecord& run, MetricValue std::pair<MetricValue, MetricValue>::*side) {
    for (const TrialRecord& trial : run.history.trials) {
      for (const MetricRecord& metric : trial.metrics) {
        values[{trial.arm, trial.seed, metric.name}].*side = value_of(run, metric, store);
      }
    }
    for (const MetricRecord& metric : run.history.shared) {
      values[{shared_arm, 0, metric.name}].*side = value_of(run, metric, store);
    }
  };
  collect(first, &std::pair<MetricValue, MetricValue>::first);
  collect(second, &std::pair<MetricValue, MetricValue>::second);
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
  NodeMatcher(store, first.history, second.history, result).match();
  compare_metrics(first, second, store, result);
  return result;
}

}  // namespace colonnade::host
