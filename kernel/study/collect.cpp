#include "kernel/study/collect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "colonnade/error.h"
#include "kernel/study/place_names.h"
#include "kernel/study/sharing.h"

namespace colonnade::host {
namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

class Collector {
 public:
  Collector(const RunHistory& history, const Store& store, const FieldReader& read)
      : history_(history), store_(store), read_(read) {}

  void add(const std::vector<MetricRecord>& metrics, TrialResult& result) {
    for (const MetricRecord& metric : metrics) add(metric, result);
  }

  // `place` is the folder within files/: the arm's, and the seed's where there are several.
  void add_files(const std::vector<MetricRecord>& files, const std::string& place, TrialResult& result,
                 std::vector<ResultFile>& written) {
    for (const MetricRecord& file : files) {
      const NodeRecord* node = evaluated(file, result);
      if (!node) continue;
      ResultFile entry;
      entry.arm = result.arm;
      entry.seed = result.seed;
      entry.measured = is_measured(*node);
      entry.path = fmt::format("{}/{}{}", entry.measured ? "measured_files" : "files", place, file.name);
      entry.source = fmt::format("{}.{}", node->op_name(), file.field);
      entry.content = manifest_of(file, *node).content;
      entry.field = read_(*node, file.field);
      written.push_back(std::move(entry));
    }
  }

 private:
  void add(const MetricRecord& metric, TrialResult& result) {
    const NodeRecord* node = evaluated(metric, result);
    if (!node) return;
    const FieldManifest& manifest = manifest_of(metric, *node);
    const bool measured = is_measured(*node);
    if (!measured) result.contents[metric.name] = manifest.content;
    if (manifest.type == "scalar") {
      (measured ? result.measured : result.scalars)[metric.name] = scalar_from(read_(*node, metric.field));
    } else if (manifest.type == "table") {
      (measured ? result.measured_tables : result.tables)[metric.name] = table_from(read_(*node, metric.field));
    } else if (manifest.type == "record" && !measured) {
      result.records[metric.name] = read_(*node, metric.field).document;
    }
  }

  // Null, and the result has failed, if it has no value.
  const NodeRecord* evaluated(const MetricRecord& metric, TrialResult& result) const {
    const NodeRecord* node = history_.find(metric.node);
    if (node && node->failure.empty()) return node;
    if (result.failure.empty()) {
      const NodeRecord* origin = node ? history_.find(node->origin) : nullptr;
      result.failure =
          node ? without_places(first_line(node->failure), origin ? origin : node) : metric.name + " was not evaluated";
    }
    return nullptr;
  }

  const FieldManifest& manifest_of(const MetricRecord& metric, const NodeRecord& node) const {
    const Trace* trace = store_.find_even_without_blobs(node.key);
    if (trace && trace->manifest.fields.count(metric.field)) return trace->manifest.fields.at(metric.field);
    throw Error(ErrorKind::environment,
                fmt::format("{}: the store does not have field '{}' of {} any more; run the study again", metric.name,
                            metric.field, node.short_name()));
  }

  bool is_measured(const NodeRecord& node) {
    const auto known = measured_.find(node.structure);
    if (known != measured_.end()) return known->second;
    const Trace* trace = store_.find_even_without_blobs(node.key);
    bool measured = trace && trace->op_class == "measured";
    for (const NodeRecord::Input& input : node.inputs) {
      const NodeRecord* from = history_.find(input.node);
      measured = measured || (from && is_measured(*from));
    }
    measured_[node.structure] = measured;
    return measured;
  }

  const RunHistory& history_;
  const Store& store_;
  const FieldReader& read_;
  std::map<Hash, bool> measured_;
};

// Per op: its schema and the values that its parameters had, paths as contents.
std::vector<Json> parameter_tables(const RunHistory& history, const Store& store, const Catalogue& catalogue) {
  std::map<std::string, std::map<std::string, std::set<Json>>> values;
  for (const NodeRecord* node : reached_nodes(history)) {
    auto& params = values[node->op];
    const Trace* trace = store.find_even_without_blobs(node->key);
    if (!trace || !trace->key_record.contains("params")) continue;
    for (const auto& [name, value] : trace->key_record.at("params").items()) params[name].insert(value);
  }
  std::vector<Json> tables;
  for (const auto& [op, params] : values) {
    const OpSchema* schema = catalogue.find_op(op);
    if (!schema) continue;
    Json table = {{"op", op}, {"schema", to_json(*schema)}, {"values", Json::object()}};
    for (const auto& [name, distinct] : params) {
      table["values"][name] = Json::array();
      for (const Json& value : distinct) table["values"][name].push_back(value);
    }
    tables.push_back(std::move(table));
  }
  return tables;
}

std::vector<std::string> notes_of(const RunHistory& history, const std::vector<TrialResult>& trials) {
  std::set<std::string> notes(history.nondeterminism.begin(), history.nondeterminism.end());
  for (const TrialResult& trial : trials) {
    if (!trial.failure.empty())
      notes.insert(fmt::format("{}, seed {} failed: {}", trial.arm, trial.seed, trial.failure));
  }
  return {notes.begin(), notes.end()};
}

}  // namespace

StudyResults collect_results(const RunHistory& history, const Json& lock, const std::string& lock_id,
                             const Store& store, const Catalogue& catalogue, const FieldReader& read) {
  const Json& study = lock.at("study");
  StudyResults results;
  results.study = study.at("name");
  results.question = study.at("question");
  results.run_name = lock_id;
  results.figures = study.at("figures");
  results.report = study.at("report");
  results.lock = lock;
  Collector collector(history, store, read);
  for (const Json& arm : study.at("arms")) {
    const std::string name = arm.at("name");
    results.arm_order.push_back(name);
    for (const Json& seed : lock.at("seeds")) {
      TrialResult result;
      result.arm = name;
      result.seed = seed;
      result.point = arm.at("point");
      const TrialRecord* trial = history.find_trial(name, result.seed);
      if (!trial) {
        result.failure = "was not evaluated";
      } else {
        result.failure = without_places(first_line(trial->failure), nullptr);
        collector.add(trial->metrics, result);
        const std::string seed_folder = lock.at("seeds").size() > 1 ? fmt::format("seed-{}/", result.seed) : "";
        collector.add_files(trial->files, fmt::format("{}/{}", name, seed_folder), result, results.files);
      }
      results.trials.push_back(std::move(result));
    }
  }
  collector.add(history.shared, results.shared);
  collector.add_files(history.shared_files, "", results.shared, results.files);
  results.sharing = sharing_of(history, results.report.value("sharing", Json::array()));
  results.parameter_tables = parameter_tables(history, store, catalogue);
  for (const auto& [hash, names] : names_of_contents(history, store)) {
    results.content_names[hash] = fmt::format("{}", fmt::join(names, ", "));
  }
  results.notes = notes_of(history, results.trials);
  return results;
}

FieldReader stored_fields(Store& store) {
  return [&store](const NodeRecord& node, const std::string& field) {
    const Trace* trace = store.find(node.key);
    if (!trace || !trace->manifest.fields.count(field)) {
      throw Error(ErrorKind::environment,
                  fmt::format("the store does not have field '{}' of {} any more; run the study again", field,
                              node.short_name()));
    }
    try {
      return store.get(trace->manifest.fields.at(field), trace->manifest);
    } catch (const DamagedBlob& damaged) {
      throw Error(ErrorKind::environment,
                  fmt::format("field '{}' of {} is damaged in the store: {}; run the study again", field,
                              node.short_name(), damaged.what()));
    }
  };
}

std::vector<const NodeRecord*> reached_nodes(const RunHistory& history, const std::string& arm) {
  std::vector<const NodeRecord*> order;
  std::set<Hash> seen;
  const auto visit = [&](const Hash& target) {
    std::vector<std::pair<const NodeRecord*, std::size_t>> stack;  // node, next input
    const auto push = [&](const Hash& structure) {
      const NodeRecord* node = history.find(structure);
      if (node && seen.insert(structure).second) stack.emplace_back(node, 0);
    };
    push(target);
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == node->inputs.size()) {
        order.push_back(node);
        stack.pop_back();
      } else {
        push(node->inputs[next++].node);
      }
    }
  };
  for (const TrialRecord& trial : history.trials) {
    if (!arm.empty() && trial.arm != arm) continue;
    for (const MetricRecord& metric : trial.metrics) visit(metric.node);
    for (const MetricRecord& file : trial.files) visit(file.node);
  }
  for (const DecisionRecord& decision : history.decisions) {
    if (!arm.empty() && decision.arm != arm) continue;
    for (const MetricRecord& need : decision.needs) visit(need.node);
  }
  if (arm.empty()) {
    for (const MetricRecord& metric : history.shared) visit(metric.node);
    for (const MetricRecord& file : history.shared_files) visit(file.node);
  }
  return order;
}

}  // namespace colonnade::host
