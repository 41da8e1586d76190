#include "kernel/study/kept_values.h"

#include "kernel/study/pins.h"
#include "kernel/study/record.h"

namespace colonnade::host {
namespace {

void add_reported(const RunHistory& history, std::set<Hash>& keys) {
  const auto add = [&](const std::vector<MetricRecord>& fields) {
    for (const MetricRecord& field : fields) {
      const NodeRecord* node = history.find(field.node);
      if (node) keys.insert(node->key);
    }
  };
  for (const TrialRecord& trial : history.trials) {
    add(trial.metrics);
    add(trial.files);
  }
  for (const DecisionRecord& decision : history.decisions) add(decision.needs);
  add(history.shared);
  add(history.shared_files);
}

}  // namespace

std::set<Hash> keys_to_keep(const Project& project) {
  std::set<Hash> keys;
  for (const Pin& pin : read_pins(project.store_folder())) keys.insert(pin.keys.begin(), pin.keys.end());
  for (const RunFolder& run : all_runs(project.runs_folder())) {
    RunHistory history;
    for (const Json& event : read_journal(run.journal()).events) history.apply(event);
    add_reported(history, keys);
  }
  return keys;
}

}  // namespace colonnade::host
