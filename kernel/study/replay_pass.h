#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kernel/study/replay.h"

namespace colonnade::host {

// Replays in passes. In a pass every node is evaluated whose inputs all have their recorded values in the pass's store:
// they came out identical, or an earlier pass found them to differ and their recorded values were put there. Without
// divergence, and without users of measured values, one pass does all.
class Replayer : public EvaluationObserver {
 public:
  // All references must outlive it. `order`: inputs before users.
  Replayer(const RebuiltGraph& graph, const std::vector<const NodeRecord*>& order, Store& recorded,
           const Catalogue& catalogue, EvaluatorOptions options, ProgressDisplay* progress);

  bool done() const;  // every node that can be is judged
  // False if there was nothing that it could evaluate. `before`: the last pass's store.
  bool pass(Store& store, Store* before);
  std::vector<NodeVerdict> verdicts() const;
  Hash key_of(const Hash& structure) const;  // in the last store; of no value where it was not evaluated

  void on_found(const NodeRef& node, const NodeResult& result) override;
  void on_started(const NodeRef& node, const Hash& key, int worker) override;
  void on_computed(const NodeRef& node, const NodeResult& result, double seconds) override;
  void on_failed(const NodeRef& node, const NodeFailure& failure) override;
  void on_progress(const NodeRef& node, std::int64_t done, std::int64_t total, const std::string& unit,
                   const std::vector<std::pair<std::string, double>>& metrics) override;
  void on_message(const std::string& line) override;
  void on_tick() override;

 private:
  struct Judged {
    NodeVerdict verdict;
    Hash key;                          // under which users find it
    std::optional<Manifest> manifest;  // what users see: recorded, or computed where that is the same or was not kept
    bool substituted = false;          // users must wait for the next pass
    bool off_record = false;           // what users see is not what was recorded
  };

  void seed(Store& store, Store* before);
  bool request_ready(Evaluator& evaluator);
  bool is_ready(const NodeRecord& record) const;
  bool saw_recorded_inputs(const NodeRecord& record) const;
  void judge(const NodeRecord& record, const NodeResult& result, double seconds);
  Verdict judge_field(const NodeRecord& record, const std::string& name, const NodeResult& result, const Trace* kept,
                      FieldVerdict& field);
  const NodeRecord* input_record(const NodeRecord::Input& input) const;

  const RebuiltGraph& graph_;
  const std::vector<const NodeRecord*>& order_;
  Store& recorded_;
  const Catalogue& catalogue_;
  EvaluatorOptions options_;
  ProgressDisplay* progress_;
  Store* store_ = nullptr;  // of the pass under way
  std::map<Hash, const NodeRecord*> by_structure_;
  std::map<const NodeRecord*, Judged> judged_;
  std::map<const NodeRecord*, Hash> keys_;
  std::set<const NodeRecord*> requested_;  // in this pass
};

}  // namespace colonnade::host
