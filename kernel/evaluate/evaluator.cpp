#include "kernel/evaluate/evaluator.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>

#include "colonnade/error.h"
#include "kernel/evaluate/describe.h"
#include "kernel/evaluate/dispatcher.h"
#include "kernel/evaluate/results.h"
#include "kernel/evaluate/system.h"
#include "kernel/evaluate/task.h"
#include "kernel/evaluate/watch.h"
#include "kernel/evaluate/worker_pool.h"

namespace colonnade::host {

namespace {

using Phase = Entry::Phase;

constexpr int kTickMs = 200;
constexpr int kMaxRepairs = 3;           // of one value, while it is fetched
constexpr double kCommitSeconds = 0.05;  // how long what is done may wait for others to be synced with
constexpr double kRefreshSeconds = 2;    // how often other coordinators' traces are looked for

ChildCommand worker_command(const EvaluatorOptions& options, const Store& store) {
  ChildCommand command;
  command.executable = options.executable;
  command.arguments = {"worker", "--fd=" + std::to_string(kChildSocket), "--store=" + store.folder().string(),
                       fmt::format("--heartbeat={}", options.heartbeat_seconds),
                       fmt::format("--checkpoint={}", options.checkpoint_seconds)};
  command.variables = options.environment.variables;
  return command;
}

std::string resumed_text(const Node& node, const Json& message) {
  return fmt::format("{} goes on from its checkpoint, at {} of {} {}",
                     node.label.empty() ? node.short_name() : node.label, message.at("done").get<std::int64_t>(),
                     message.at("total").get<std::int64_t>(), message.at("unit").get<std::string>());
}

class LocalEvaluator final : public Evaluator {
 public:
  LocalEvaluator(EvaluatorOptions options, const Catalogue& catalogue, Store& store, EvaluationObserver& observer)
      : options_(std::move(options)),
        catalogue_(catalogue),
        store_(store),
        observer_(observer),
        table_(options_, catalogue, store, observer),
        dropping_(options_.quota, catalogue, store, observer, table_),
        results_(store, observer, table_, dropping_, options_.cache_folder),
        dispatcher_(options_, table_, store),
        pool_(worker_command(options_, store), options_.log_folder),
        watch_(options_.heartbeat_timeout),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    handlers_.on_message = [this](WorkerProcess& worker, const Json& message) { receive(worker, message); };
    handlers_.on_end = [this](WorkerProcess& worker, const WorkerEnd& end) { worker_ended(worker, end); };
  }

  ~LocalEvaluator() override {
    pool_.end_all();
    store_.clear_abandoned();  // what ended workers were writing, which may be what fills the disk
    try {
      store_.commit();  // what was computed stays computed where an exception ended the evaluation
    } catch (const std::exception&) {
      // Whoever evaluated has been told already, by the exception.
    }
  }

  void request(const NodeRef& node) override { table_.request(node); }
  NodeState state(const NodeRef& node) const override;
  const NodeResult* result(const NodeRef& node) const override;
  const NodeFailure* failure(const NodeRef& node) const override;
  bool wait() override;
  void interrupt() override;
  Field fetch(const FieldRef& field) override;
  int workers_started() const override { return pool_.started(); }

 private:
  bool work_is_left() const { return !running_.empty() || !table_.ready().empty(); }
  void turn();
  void publish();
  void dispatch();
  void start(Entry& entry);
  WorkerProcess& start_worker(const std::string& device);
  Task make_task(const Entry& entry);
  void receive(WorkerProcess& worker, const Json& message);
  void worker_ended(WorkerProcess& worker, const WorkerEnd& end);
  bool take_interrupt();
  [[noreturn]] void end_interrupted();

  const EvaluatorOptions options_;
  const Catalogue& catalogue_;
  Store& store_;
  EvaluationObserver& observer_;
  NodeTable table_;
  Dropping dropping_;
  Results results_;
  Dispatcher dispatcher_;
  WorkerPool pool_;
  WorkerPool::Handlers handlers_;
  Watch watch_;
  FileDescriptor wake_;
  std::atomic<bool> interrupted_ = false;
  RunningTasks running_;
  std::uint64_t next_task_ = 1;
  double last_publication_ = 0;
  double last_refresh_ = monotonic_seconds();
};

NodeState LocalEvaluator::state(const NodeRef& node) const {
  const Entry* entry = table_.find(node);
  if (!entry) return NodeState::waiting;
  switch (entry->phase) {
    case Phase::waiting:
    case Phase::ready:
      return NodeState::waiting;
    case Phase::running:
      return NodeState::running;
    case Phase::found:
      return NodeState::found;
    case Phase::computed:
      return NodeState::computed;
    case Phase::failed:
      return NodeState::failed;
  }
  return NodeState::waiting;
}

const NodeResult* LocalEvaluator::result(const NodeRef& node) const {
  const Entry* entry = table_.find(node);
  return entry && (entry->phase == Phase::found || entry->phase == Phase::computed) ? &entry->result : nullptr;
}

const NodeFailure* LocalEvaluator::failure(const NodeRef& node) const {
  const Entry* entry = table_.find(node);
  return entry && entry->phase == Phase::failed ? &entry->failure : nullptr;
}

void LocalEvaluator::interrupt() {
  interrupted_ = true;
  const std::uint64_t one = 1;
  if (::write(wake_.number(), &one, sizeof(one)) < 0) return;  // the counter is full: it wakes all the same
}

bool LocalEvaluator::wait() {
  while (true) {
    if (interrupted_) end_interrupted();
    dispatch();
    if (running_.empty() || monotonic_seconds() - last_publication_ > kCommitSeconds) publish();
    if (table_.take_settled() > 0) return true;
    if (!work_is_left()) return false;
    turn();
  }
}

void LocalEvaluator::publish() {
  results_.publish();
  last_publication_ = monotonic_seconds();
}

// Waits for one thing to happen.
void LocalEvaluator::turn() {
  pool_.poll(kTickMs, wake_.number(), handlers_);
  watch_.look(pool_, running_);
  observer_.on_tick();
}

void LocalEvaluator::dispatch() {
  if (table_.ready().empty()) return;
  if (!options_.ignore_traces && monotonic_seconds() - last_refresh_ > kRefreshSeconds) {
    store_.refresh();
    last_refresh_ = monotonic_seconds();
  }
  while (Entry* entry = dispatcher_.next(running_)) {
    if (table_.look_again(*entry)) continue;
    const std::string refusal = dispatcher_.refusal(*entry);
    table_.start(*entry);
    if (refusal.empty()) {
      start(*entry);
    } else {
      table_.fail(*entry, refusal);
    }
  }
}

void LocalEvaluator::start(Entry& entry) {
  Json message;
  Running running = dispatcher_.admit(entry);
  running.task = next_task_++;
  try {
    Task task = make_task(entry);
    task.id = running.task;
    message = to_json(task);
  } catch (const Error& error) {
    table_.fail(entry, error.what());
    return;
  }
  WorkerProcess* worker = dispatcher_.choose(pool_.workers(), entry);
  if (!worker) worker = &start_worker(device_of(*entry.node, options_.environment));
  worker->idle = false;
  worker->last_used = running.task;
  worker->plugins.insert(entry.key->plugins.begin(), entry.key->plugins.end());
  for (std::size_t i = 0; i < entry.inputs.size(); ++i) {
    const Manifest& manifest = entry.inputs[i]->result.trace->manifest;
    worker->contents.insert(manifest.fields.at(entry.node->inputs[i].from.field).content);
  }
  begin_log(*worker);
  running.base_memory = own_memory(worker->pid);
  running_[worker->id] = running;
  pool_.send(*worker, message);
  observer_.on_started(entry.node, entry.key->key, worker->id);
}

// Idle workers of another device make room for it.
WorkerProcess& LocalEvaluator::start_worker(const std::string& device) {
  int others = static_cast<int>(pool_.workers().size()) + 1 - options_.workers;
  for (WorkerProcess& worker : pool_.workers()) {
    if (others <= 0 || !worker.idle || worker.retired || worker.device == device) continue;
    pool_.retire(worker);
    --others;
  }
  WorkerProcess& worker = pool_.start();
  worker.device = device;
  return worker;
}

Task LocalEvaluator::make_task(const Entry& entry) {
  const Node& node = *entry.node;
  Task task;
  task.key = entry.key->key;
  task.op = node.schema->id();
  task.params = node.params;
  task.seed = node.seed ? node.seed->value : 0;
  task.stream = node.seed ? stream_of(node) : 0;
  task.threads = options_.environment.threads;
  if (node.schema->op_class == OpClass::bitwise) task.quick_seconds = options_.quota.most_seconds;
  task.device = device_of(node, options_.environment);
  for (const PluginInfo* plugin : catalogue_.closure(entry.key->plugins, task.device)) {
    task.plugins.push_back({plugin->name, plugin->stamp.version, plugin->origin, plugin->file, plugin->binary});
  }
  for (std::size_t i = 0; i < entry.inputs.size(); ++i) {
    task.inputs.push_back(
        make_task_input(node.inputs[i].role, entry.inputs[i]->result.trace->manifest, node.inputs[i].from.field));
  }
  return task;
}

void LocalEvaluator::receive(WorkerProcess& worker, const Json& message) {
  worker.ready = true;
  const auto found = running_.find(worker.id);
  if (found == running_.end()) return;
  Running& running = found->second;
  Entry& entry = *running.entry;
  running.last_sign = monotonic_seconds();
  const std::string type = message.at("type").get<std::string>();
  if (type == "started") {
    running.started = running.last_sign;
    running.base_memory = own_memory(worker.pid);
  } else if (type == "progress") {
    std::vector<std::pair<std::string, double>> metrics;
    for (const Json& metric : message.at("metrics")) metrics.emplace_back(metric.at(0), metric.at(1));
    observer_.on_progress(entry.node, message.at("done"), message.at("total"), message.at("unit"), metrics);
    if (message.contains("resumed")) observer_.on_message(resumed_text(*entry.node, message));
  } else if (type == "log") {
    observer_.on_log(entry.node, message.at("line").get<std::string>());
  }
  if (!message.contains("id") || message.at("id") != running.task) return;

  running_.erase(found);
  worker.idle = true;
  if (entry.node->schema->op_class == OpClass::measured) pool_.retire(worker);
  if (type == "done") {
    results_.finish(entry, message);
    for (const auto& [name, field] : entry.known() ? entry.result.trace->manifest.fields : Manifest().fields) {
      worker.contents.insert(field.content);
    }
  } else if (type == "damaged") {
    results_.input_unreadable(entry, message);
  } else if (type == "cancelled") {
    table_.put_back(entry);
  } else if (type == "environment") {
    table_.put_back(entry);
    throw Error(ErrorKind::environment, message.at("message").get<std::string>());
  } else {
    const auto what = message.at("message").get<std::string>();
    table_.fail(entry, what, message.value("refused", false) ? what : "");
  }
}

void LocalEvaluator::worker_ended(WorkerProcess& worker, const WorkerEnd& end) {
  const auto found = running_.find(worker.id);
  if (found == running_.end()) return;
  const Running running = found->second;
  Entry& entry = *running.entry;
  running_.erase(found);
  if (interrupted_) {
    table_.put_back(entry);
    return;
  }
  const std::string log = last_log_lines(worker);
  if (!worker.ready && !end.by_signal) {  // no node's fault: the next worker would fare no better
    table_.put_back(entry);
    throw Error(ErrorKind::environment, describe_failed_start(options_.executable, end, log));
  }
  bool own_doing = !running.retry;
  std::string what = worker.killed_because;
  if (what.empty()) what = describe_end(*entry.node->schema, end, own_doing);
  if (!own_doing && entry.deaths < options_.retries) {
    ++entry.deaths;
    observer_.on_message(fmt::format("{}; trying again ({} of {})", what, entry.deaths, options_.retries));
    table_.put_back(entry);
    return;
  }
  if (!log.empty()) what += "; the last lines of its log:" + indented(log);
  table_.fail(entry, what);
}

// True if somebody interrupted since the last call.
bool LocalEvaluator::take_interrupt() {
  std::uint64_t count = 0;
  return ::read(wake_.number(), &count, sizeof(count)) == sizeof(count);
}

void LocalEvaluator::end_interrupted() {
  take_interrupt();
  for (WorkerProcess& worker : pool_.workers()) {
    if (running_.count(worker.id)) pool_.send(worker, {{"type", "cancel"}});
  }
  const double deadline = monotonic_seconds() + options_.cancel_grace;
  // A worker that is done with its node counts as any other; its dependants are not started. A second interrupt is
  // impatience.
  while (!running_.empty() && monotonic_seconds() < deadline && !take_interrupt()) {
    pool_.poll(kTickMs, wake_.number(), handlers_);
  }
  for (WorkerProcess& worker : pool_.workers()) {
    if (running_.count(worker.id)) pool_.kill(worker, "interrupted");
  }
  while (!running_.empty()) pool_.poll(kTickMs, -1, handlers_);
  results_.publish();
  interrupted_ = false;
  take_interrupt();
  throw Cancelled();
}

Field LocalEvaluator::fetch(const FieldRef& field) {
  Entry& entry = table_.request(field.node);
  for (int attempt = 0;; ++attempt) {
    while (!entry.settled()) {
      if (interrupted_) end_interrupted();
      dispatch();
      results_.publish();
      if (!entry.settled()) turn();
    }
    results_.publish();
    if (entry.phase == Phase::failed) throw Error(ErrorKind::op, entry.failure.message);
    const Manifest& manifest = entry.result.trace->manifest;
    const auto found = manifest.fields.find(field.field);
    if (found == manifest.fields.end()) {
      throw Error(ErrorKind::usage, fmt::format("{} has no field '{}'", field.node->schema->id(), field.field));
    }
    try {
      return store_.get(found->second, manifest);
    } catch (const DamagedBlob& damage) {
      if (attempt == kMaxRepairs) throw Error(ErrorKind::environment, damage.what());
      observer_.on_message(fmt::format("{}; evaluating {} again", damage.what(), field.node->short_name()));
      table_.lost(entry, nullptr);
    }
  }
}

}  // namespace

std::unique_ptr<Evaluator> Evaluator::create(EvaluatorOptions options, const Catalogue& catalogue, Store& store,
                                             EvaluationObserver& observer) {
  if (options.workers < 1) {
    throw Error(ErrorKind::usage, fmt::format("workers = {} is out of range; allowed: at least 1", options.workers));
  }
  return std::make_unique<LocalEvaluator>(std::move(options), catalogue, store, observer);
}

}  // namespace colonnade::host
