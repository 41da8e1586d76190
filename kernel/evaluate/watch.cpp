#include "kernel/evaluate/watch.h"

#include <fmt/format.h>

#include <utility>

#include "kernel/evaluate/system.h"

namespace colonnade::host {

namespace {

// A coordinator that was stopped (Ctrl-Z, a debugger) for longer than this has not heard its workers meanwhile.
constexpr double kPauseSeconds = 3;
constexpr double kLookSeconds = 0.1;

}  // namespace

void Watch::forgive_pause(RunningTasks& running, double now) {
  const double before = std::exchange(last_look_, now);
  const double gap = now - before;
  if (gap < kPauseSeconds) return;
  for (auto& [worker, task] : running) {
    if (task.started > before) continue;
    task.last_sign += gap;
    task.started += gap;
  }
}

std::string Watch::verdict(const WorkerProcess& worker, Running& task, double now, std::uint64_t memory) const {
  const OpSchema& schema = *task.entry->node->schema;
  if (schema.time_limit && now - task.started > *schema.time_limit) {
    task.retry = false;
    return fmt::format("op {} of plugin {} ran longer than its time limit of {} and was ended", schema.id(),
                       schema.plugin, human_seconds(*schema.time_limit));
  }
  const double used = memory > task.base_memory ? static_cast<double>(memory - task.base_memory) : 0;
  if (task.declared_memory && used > *task.declared_memory) {
    task.retry = false;
    return fmt::format("op {} of plugin {} used {} of memory, more than the {} that it declares, and was ended",
                       schema.id(), schema.plugin, human_bytes(used), human_bytes(*task.declared_memory));
  }
  if (now - task.last_sign > heartbeat_timeout_) {
    return fmt::format("worker {} gave no sign of life for {} while op {} of plugin {} ran, and was ended", worker.id,
                       human_seconds(heartbeat_timeout_), schema.id(), schema.plugin);
  }
  return "";
}

void Watch::look(WorkerPool& pool, RunningTasks& running) {
  const double now = monotonic_seconds();
  if (now - last_look_ < kLookSeconds) return;
  forgive_pause(running, now);
  WorkerProcess* largest = nullptr;
  std::uint64_t largest_memory = 0, total = 0;
  for (WorkerProcess& worker : pool.workers()) {
    const std::uint64_t memory = own_memory(worker.pid);
    total += memory;
    const auto task = running.find(worker.id);
    if (task == running.end() || !worker.killed_because.empty()) continue;
    const std::string why = verdict(worker, task->second, now, memory);
    if (!why.empty()) {
      pool.kill(worker, why);
    } else if (memory > largest_memory) {
      largest = &worker;
      largest_memory = memory;
    }
  }
  const double limit = admitted_memory_limit();
  if (!largest || limit <= 0 || static_cast<double>(total) <= limit) return;
  Running& task = running.at(largest->id);
  task.retry = false;
  const OpSchema& schema = *task.entry->node->schema;
  pool.kill(
      *largest,
      fmt::format("op {} of plugin {} used {} of memory; all workers together may use {}, so it was ended", schema.id(),
                  schema.plugin, human_bytes(static_cast<double>(largest_memory)), human_bytes(limit)));
}

}  // namespace colonnade::host
