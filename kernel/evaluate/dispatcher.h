#pragma once

#include <map>
#include <optional>
#include <vector>

#include "kernel/evaluate/estimates.h"
#include "kernel/evaluate/node_table.h"
#include "kernel/evaluate/worker_pool.h"

namespace colonnade::host {

// A node in a worker's hands.
struct Running {
  Entry* entry = nullptr;
  std::uint64_t task = 0;
  double started = 0;    // when the op itself began
  double last_sign = 0;  // when the worker was last heard
  std::uint64_t base_memory = 0;
  std::optional<double> declared_memory;
  double admitted_memory = 0;
  int cores = 1;
  bool retry = true;  // if the worker dies
};
using RunningTasks = std::map<int, Running>;  // by worker

// Decides which ready node goes next, and to which worker. Longest remaining path first (seconds of the past, along
// users), then order of arrival; what runs together stays within the cores and 80 % of the machine's memory; a measured
// op runs alone.
class Dispatcher {
 public:
  Dispatcher(const EvaluatorOptions& options, const NodeTable& table, const Store& store)
      : options_(options), table_(table), estimates_(store) {}

  // The node that may start now; nullptr if none may.
  Entry* next(const RunningTasks& running);
  // Why the node can never run here; "" if it can.
  std::string refusal(const Entry& entry) const;
  // An idle worker on the node's device, the one that holds most of the node's inputs, else of its plugins; nullptr if a
  // new one is needed.
  WorkerProcess* choose(std::list<WorkerProcess>& workers, const Entry& entry) const;
  Running admit(Entry& entry);

 private:
  int cores_of(const Entry& entry) const;
  bool fits(const Entry& entry, const RunningTasks& running);
  void update_priorities();

  const EvaluatorOptions& options_;
  const NodeTable& table_;
  Estimates estimates_;
  std::vector<double> remaining_;  // by order of arrival
};

// What nodes may use together.
double admitted_memory_limit();

}  // namespace colonnade::host
