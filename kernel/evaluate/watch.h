#pragma once

#include "kernel/evaluate/dispatcher.h"

namespace colonnade::host {

// Looks after the workers that evaluate: ends those that ran past their op's time limit, use more memory than their op
// declares, or give no sign of life, and the largest one when all together use more than the machine admits.
class Watch {
 public:
  explicit Watch(double heartbeat_timeout) : heartbeat_timeout_(heartbeat_timeout) {}
  void look(WorkerPool& pool, RunningTasks& running);

 private:
  void forgive_pause(RunningTasks& running, double now);
  std::string verdict(const WorkerProcess& worker, Running& task, double now, std::uint64_t memory) const;

  double heartbeat_timeout_;
  double last_look_ = 0;
};

}  // namespace colonnade::host
