#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernel/evaluate/evaluator.h"
#include "kernel/graph/node.h"
#include "kernel/study/journal.h"
#include "kernel/study/run_folder.h"
#include "kernel/study/study.h"

namespace colonnade::host {

// One node of a run as its journal has it: complete enough to evaluate it again without the study.
struct NodeRecord {
  struct Input {
    std::string role;
    Hash node;
    std::string field;
  };
  Hash structure;
  std::string op;
  Json params;
  std::vector<Input> inputs;
  std::optional<std::uint64_t> seed, stream;
  std::string device, label, where;

  Hash key;
  std::map<std::string, Hash> contents;  // field -> content hash
  bool computed = false;                 // by this run
  double seconds = 0;                    // computed: what it cost now; found: what it cost then
  std::string failure;                   // "" unless it failed
  Hash origin;                           // of the failure

  std::string op_name() const { return op.substr(op.find('/') + 1); }
  std::string plugin() const { return op.substr(0, op.find('/')); }
  std::string short_name() const;
};

struct MetricRecord {
  std::string name;
  Hash node;
  std::string field;
  bool operator==(const MetricRecord&) const = default;
};

struct TrialRecord {
  std::string arm;
  std::uint64_t seed = 0;
  Json point = Json::object();
  std::vector<MetricRecord> metrics;
  std::vector<MetricRecord> files;     // named as they are written
  std::optional<MetricRecord> output;  // what the arm ends in
  std::string failure;                 // of the trial itself: an adaptive arm's error
};

struct DecisionRecord {
  std::string arm;
  std::uint64_t seed = 0;
  int step = 0;
  std::vector<MetricRecord> needs;
};

enum class RunState { running, finished, incomplete };
std::string_view state_name(RunState state);

// What the events of a journal add up to. Later events about the same thing replace earlier ones.
struct RunHistory {
  std::vector<NodeRecord> nodes;  // in the order in which they were settled first
  std::map<Hash, std::size_t> index;
  std::vector<TrialRecord> trials;
  std::vector<DecisionRecord> decisions;
  std::vector<MetricRecord> shared, shared_files;
  std::vector<std::string> arms;
  std::vector<std::string> messages;
  std::vector<std::string> nondeterminism;
  std::map<std::string, Json> code;            // of plugins that only adaptive arms reached
  std::vector<std::filesystem::path> plugins;  // explicit ones of the last session
  std::filesystem::path study_folder;
  std::string cpu;
  std::int64_t started = 0, last = 0;  // Unix seconds
  int sessions = 0;
  bool finished = false;
  int failed_trials = 0;
  std::string table;

  void apply(const Json& event);
  const NodeRecord* find(const Hash& structure) const;
  const TrialRecord* find_trial(const std::string& arm, std::uint64_t seed) const;
};

// A run as it lies on the disk.
struct RunRecord {
  RunFolder folder;
  Json lock;
  RunHistory history;
  RunState state = RunState::incomplete;
  std::vector<std::string> damage;
};
RunRecord read_run(const RunFolder& folder);

// The node that a person means: its label, op's name, or the first digits of its structure or key. Error(usage) with
// the nearest name or naming those that match alike.
const NodeRecord& resolve_node(const RunHistory& history, const std::string& name);

// Events.
Json node_event(const char* event, const Node& node);
Json metrics_to_json(const std::vector<MetricRecord>& metrics);
MetricRecord metric_record(const std::string& name, const FieldRef& field);

}  // namespace colonnade::host
