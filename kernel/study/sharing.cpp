#include "kernel/study/sharing.h"

#include <map>
#include <set>

namespace colonnade::host {
namespace {

// Everything that one trial stands on: its results and what it asked for on the way.
std::set<Hash> nodes_of_trial(const RunHistory& history, const std::string& arm, std::uint64_t seed) {
  std::set<Hash> seen;
  std::vector<Hash> open;
  for (const TrialRecord& trial : history.trials) {
    if (trial.arm != arm || trial.seed != seed) continue;
    for (const MetricRecord& metric : trial.metrics) open.push_back(metric.node);
    for (const MetricRecord& file : trial.files) open.push_back(file.node);
  }
  for (const DecisionRecord& decision : history.decisions) {
    if (decision.arm != arm || decision.seed != seed) continue;
    for (const MetricRecord& need : decision.needs) open.push_back(need.node);
  }
  while (!open.empty()) {
    const Hash structure = open.back();
    open.pop_back();
    const NodeRecord* node = history.find(structure);
    if (node == nullptr || !seen.insert(structure).second) continue;
    for (const NodeRecord::Input& input : node->inputs) open.push_back(input.node);
  }
  return seen;
}

SharingResult group_of(const RunHistory& history, const Json& declared) {
  SharingResult result;
  result.title = declared.at("title");
  result.arms = declared.at("arms").get<std::vector<std::string>>();
  result.beyond = declared.at("beyond");
  const std::set<std::string> arms(result.arms.begin(), result.arms.end());
  std::map<std::string, SharingRow> rows;
  std::set<Hash> shared;
  for (const TrialRecord& trial : history.trials) {
    if (!arms.contains(trial.arm)) continue;
    std::set<Hash> already;
    if (!result.beyond.empty()) already = nodes_of_trial(history, result.beyond, trial.seed);
    for (const Hash& structure : nodes_of_trial(history, trial.arm, trial.seed)) {
      if (already.contains(structure)) continue;
      const NodeRecord& node = *history.find(structure);
      SharingRow& row = rows[node.op];
      ++row.alone;
      row.seconds_alone += node.seconds;
      if (!shared.insert(structure).second) continue;
      ++row.shared;
      row.seconds_shared += node.seconds;
    }
  }
  for (auto& [op, row] : rows) {
    row.op = op;
    result.rows.push_back(row);
  }
  return result;
}

}  // namespace

std::vector<SharingResult> sharing_of(const RunHistory& history, const Json& declared) {
  std::vector<SharingResult> results;
  for (const Json& group : declared) results.push_back(group_of(history, group));
  return results;
}

}  // namespace colonnade::host
