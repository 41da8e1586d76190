#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernel/graph/keys.h"
#include "kernel/plugin/catalogue.h"
#include "kernel/store/store.h"

namespace colonnade::host {

enum class NodeState { waiting, running, found, computed, failed };

struct NodeFailure {
  std::string message;  // complete: op, plugin, reason, last lines of the worker's log
  NodeRef origin;       // the node that failed; an ancestor where this one only inherits it
  std::string refusal;  // what the op said of what it was given, and would say again; "" of any other failure
};

struct NodeResult {
  Hash key;
  const Trace* trace = nullptr;  // owned by the store
  bool found = false;            // not computed by this run
};

// Told by the evaluator on the coordinator's only thread.
class EvaluationObserver {
 public:
  virtual ~EvaluationObserver() = default;
  virtual void on_found(const NodeRef&, const NodeResult&) {}
  virtual void on_started(const NodeRef&, const Hash& key, int worker) { (void)key, (void)worker; }
  virtual void on_progress(const NodeRef&, std::int64_t done, std::int64_t total, const std::string& unit,
                           const std::vector<std::pair<std::string, double>>& metrics) {
    (void)done, (void)total, (void)unit, (void)metrics;
  }
  virtual void on_log(const NodeRef&, const std::string& line) { (void)line; }  // what a running op says
  virtual void on_computed(const NodeRef&, const NodeResult&, double seconds) { (void)seconds; }
  virtual void on_failed(const NodeRef&, const NodeFailure&) {}
  virtual void on_nondeterminism(const NodeRef&, const Nondeterminism&) {}
  virtual void on_message(const std::string& line) { (void)line; }  // a retry, a quarantined blob, a worker ended
  virtual void on_tick() {}                                         // a few times a second while work is under way
};

// How large the values in a store may grow before those that are quick to compute again are dropped.
struct StoreQuota {
  std::uint64_t bytes = 0;    // of all blobs; 0: nothing is dropped
  double most_seconds = 60;   // what took longer to compute stays
  double grace_seconds = 60;  // what was written or used since stays: another worker may be about to name it
  std::function<std::set<Hash>()> kept_keys;  // of values that stay in any case; asked once, when that is first needed
};

struct EvaluatorOptions {
  int workers = 1;
  NumericEnvironment environment;
  bool trust_versions = false;
  int retries = 1;                     // after a worker died; never after an error of the op, or memory over budget
  double heartbeat_timeout = 60;       // seconds without a sign from a worker's helper thread
  std::filesystem::path log_folder;    // workers' stdout and stderr; empty: they are dropped
  std::filesystem::path cache_folder;  // of catalogue and path hashes
  // Structure -> key of nodes as a run recorded them: their values are taken from the store whatever their code is now,
  // and what has to be computed again must come under that key.
  std::map<Hash, Hash> recorded;
  StoreQuota quota;
  bool ignore_traces = false;                           // evaluate what is known too: tells nondeterministic ops
  std::filesystem::path executable = "/proc/self/exe";  // what `worker` is a command of
  double heartbeat_seconds = 1;                         // of a worker's helper thread, while it evaluates
  double checkpoint_seconds = 10;                       // how often a long op is told to save its state
  double cancel_grace = 5;                              // what an op may take to end after an interrupt
};

// Evaluates nodes: finds, shares, schedules over worker processes. Owns the workers (they die with it). The store must
// be opened as coordinator. All methods on one thread; `wait` runs the event loop.
class Evaluator {
 public:
  static std::unique_ptr<Evaluator> create(EvaluatorOptions options, const Catalogue& catalogue, Store& store,
                                           EvaluationObserver& observer);
  virtual ~Evaluator() = default;

  // Wants the node (fully bound); idempotent. Found nodes are settled at once, without workers or waiting.
  virtual void request(const NodeRef& node) = 0;
  virtual NodeState state(const NodeRef& node) const = 0;
  virtual const NodeResult* result(const NodeRef& node) const = 0;    // of found and computed ones
  virtual const NodeFailure* failure(const NodeRef& node) const = 0;  // of failed ones
  // Runs until a requested node is settled that was not before (true), or nothing is left to do (false). Interrupted by
  // `interrupt`: throws Cancelled after workers were asked to end and traces are committed.
  virtual bool wait() = 0;
  virtual void interrupt() = 0;  // async-signal-safe
  // Recomputes the node's blobs if they turn out damaged or gone, then returns the field.
  virtual Field fetch(const FieldRef& field) = 0;
  virtual int workers_started() const = 0;
};

// What something will cost at this machine's past rates: at their mean, at the quickest, at the slowest.
struct CostEstimate {
  double likely = 0, low = 0, high = 0;
};

// What `plan` says of a node without evaluating anything.
struct NodeForecast {
  NodeRef node;
  enum class Status { found, to_compute, unknown } status = Status::unknown;  // unknown: its inputs are not known yet
  int users = 0;                                                              // nodes and arms that share it
  std::optional<CostEstimate> seconds;
  std::optional<double> bytes;
};
std::vector<NodeForecast> forecast(const std::vector<NodeRef>& targets, const EvaluatorOptions& options,
                                   const Catalogue& catalogue, Store& store);

}  // namespace colonnade::host
