#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/evaluate/evaluator.h"
#include "kernel/study/record.h"

namespace colonnade::host {

// What a process that executes a run says of itself.
struct Session {
  std::vector<std::string> arms;
  std::vector<std::uint64_t> seeds;
  int workers = 1;
  std::vector<std::filesystem::path> plugins;  // explicit ones, so that a replay finds them
  std::filesystem::path study_folder;
};

// Writes a run's journal from what the evaluator tells, each thing once, and passes it on to who draws progress.
// Committed a few times a second. One thread, the coordinator's.
class Recorder : public EvaluationObserver {
 public:
  // Both must outlive it; `next` may be null.
  Recorder(Journal& journal, EvaluationObserver* next);

  void start(const Session& session);
  void trial(const TrialRecord& trial);
  void decision(const DecisionRecord& decision);
  void shared(const std::vector<MetricRecord>& metrics, const std::vector<MetricRecord>& files);
  void code(const std::string& plugin, const Json& code);
  void event(Json event);  // any other
  void commit();

  const RunHistory& history() const { return history_; }
  int found() const { return found_; }  // nodes, in this process
  int computed() const { return computed_; }

  void on_found(const NodeRef& node, const NodeResult& result) override;
  void on_started(const NodeRef& node, const Hash& key, int worker) override;
  void on_progress(const NodeRef& node, std::int64_t done, std::int64_t total, const std::string& unit,
                   const std::vector<std::pair<std::string, double>>& metrics) override;
  void on_log(const NodeRef& node, const std::string& line) override;
  void on_computed(const NodeRef& node, const NodeResult& result, double seconds) override;
  void on_failed(const NodeRef& node, const NodeFailure& failure) override;
  void on_nondeterminism(const NodeRef& node, const Nondeterminism& found) override;
  void on_message(const std::string& line) override;
  void on_tick() override;

 private:
  void settled(const char* event, const Node& node, const NodeResult& result, double seconds);

  Journal& journal_;
  EvaluationObserver* next_;
  RunHistory history_;
  int found_ = 0, computed_ = 0;
  std::chrono::steady_clock::time_point committed_;
};

}  // namespace colonnade::host
