#include "kernel/evaluate/dispatcher.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/evaluate/system.h"

namespace colonnade::host {

namespace {

constexpr double kMemoryShare = 0.8;
constexpr CostEstimate kUnknown = {1, 1, 1};  // of an op without a past: only the order of nodes depends on it

bool is_measured(const Entry& entry) {
  return entry.node->schema->op_class == OpClass::measured;
}

// Bytes of the node's inputs that the worker has had in hand, then plugins that it need not load.
std::pair<double, std::size_t> affinity(const WorkerProcess& worker, const Entry& entry) {
  double bytes = 0;
  for (std::size_t i = 0; i < entry.inputs.size(); ++i) {
    const Manifest& manifest = entry.inputs[i]->result.trace->manifest;
    const auto field = manifest.fields.find(entry.node->inputs[i].from.field);
    if (field == manifest.fields.end() || !worker.contents.count(field->second.content)) continue;
    bytes += 1;
    for (const auto& [name, blob] : field->second.tensors) bytes += static_cast<double>(blob.bytes);
  }
  std::size_t plugins = 0;
  for (const std::string& plugin : entry.key->plugins) plugins += worker.plugins.count(plugin);
  return {bytes, plugins};
}

}  // namespace

double admitted_memory_limit() {
  static const double limit = kMemoryShare * static_cast<double>(machine_memory());
  return limit;
}

int Dispatcher::cores_of(const Entry& entry) const {
  return std::max(entry.node->schema->cores, options_.environment.threads);
}

std::string Dispatcher::refusal(const Entry& entry) const {
  const auto declared = Estimates::declared_memory(*entry.node);
  const double limit = admitted_memory_limit();
  if (!declared || limit <= 0 || *declared <= limit) return "";
  return fmt::format("op {} declares that it needs {} of memory; this machine has {}, of which nodes may use {:.0f} %",
                     entry.node->schema->id(), human_bytes(*declared), human_bytes(limit / kMemoryShare),
                     kMemoryShare * 100);
}

bool Dispatcher::fits(const Entry& entry, const RunningTasks& running) {
  if (running.empty()) return true;
  int cores = cores_of(entry);
  double memory = estimates_.memory(*entry.node).value_or(0);
  for (const auto& [worker, task] : running) {
    cores += task.cores;
    memory += task.admitted_memory;
  }
  const double limit = admitted_memory_limit();
  return cores <= options_.workers * options_.environment.threads && (limit <= 0 || memory <= limit);
}

Running Dispatcher::admit(Entry& entry) {
  Running running;
  running.entry = &entry;
  running.cores = cores_of(entry);
  running.declared_memory = Estimates::declared_memory(*entry.node);
  running.admitted_memory = estimates_.memory(*entry.node).value_or(0);
  running.started = running.last_sign = monotonic_seconds();
  return running;
}

void Dispatcher::update_priorities() {
  const std::vector<Entry*>& entries = table_.all();
  if (remaining_.size() == entries.size()) return;
  remaining_.assign(entries.size(), 0);
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {  // users come after their inputs
    if ((*entry)->settled()) continue;
    double longest = 0;
    for (const Entry* user : (*entry)->users) longest = std::max(longest, remaining_[user->order]);
    remaining_[(*entry)->order] = longest + estimates_.seconds(*(*entry)->node).value_or(kUnknown).likely;
  }
}

Entry* Dispatcher::next(const RunningTasks& running) {
  if (table_.ready().empty()) return nullptr;
  for (const auto& [worker, task] : running) {
    if (is_measured(*task.entry)) return nullptr;
  }
  if (static_cast<int>(running.size()) >= options_.workers) return nullptr;
  update_priorities();
  // A measured op waits until nothing else can run: its start needs an idle machine.
  const auto before = [this](const Entry* a, const Entry* b) {
    if (is_measured(*a) != is_measured(*b)) return is_measured(*b);
    if (remaining_[a->order] != remaining_[b->order]) return remaining_[a->order] > remaining_[b->order];
    return a->order < b->order;
  };
  std::vector<Entry*> candidates = table_.ready();
  while (!candidates.empty()) {
    const auto best = std::min_element(candidates.begin(), candidates.end(), before);
    if (is_measured(**best) ? running.empty() : fits(**best, running)) return *best;
    candidates.erase(best);
  }
  return nullptr;
}

WorkerProcess* Dispatcher::choose(std::list<WorkerProcess>& workers, const Entry& entry) const {
  if (is_measured(entry)) return nullptr;
  const std::string device = device_of(*entry.node, options_.environment);
  WorkerProcess* best = nullptr;
  for (WorkerProcess& worker : workers) {
    if (!worker.idle || worker.retired || worker.device != device) continue;
    if (!best) {
      best = &worker;
      continue;
    }
    const auto mine = affinity(worker, entry), other = affinity(*best, entry);
    if (mine > other || (mine == other && worker.last_used > best->last_used)) best = &worker;
  }
  return best;
}

}  // namespace colonnade::host
