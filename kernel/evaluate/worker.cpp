#include "kernel/evaluate/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <list>
#include <set>

#include "colonnade/blob_writer.h"
#include "colonnade/error.h"
#include "colonnade/registry.h"
#include "colonnade/run_op.h"
#include "colonnade/unicode.h"
#include "kernel/evaluate/system.h"
#include "kernel/evaluate/task.h"
#include "kernel/evaluate/worker_faults.h"
#include "kernel/evaluate/worker_link.h"
#include "kernel/plugin/loader.h"

namespace colonnade::host {

namespace {

constexpr std::size_t kRecentFields = 64;
constexpr double kProgressSeconds = 0.2;
constexpr int kExitEnvironment = 3;

// The fields used last, mapped read-only, by content: the next task on the same model maps and verifies nothing.
class RecentFields {
 public:
  explicit RecentFields(Store& store) : store_(store) {}

  Field get(const TaskInput& input) {
    for (auto entry = recent_.begin(); entry != recent_.end(); ++entry) {
      if (entry->content != input.field().content || entry->field.carries != input.field().carries) continue;
      recent_.splice(recent_.begin(), recent_, entry);
      return recent_.front().field;
    }
    recent_.push_front({input.field().content, store_.get(input.field(), input.manifest)});
    if (recent_.size() > kRecentFields) recent_.pop_back();
    return recent_.front().field;
  }

 private:
  struct Entry {
    Hash content;
    Field field;
  };
  Store& store_;
  std::list<Entry> recent_;
};

// The states of the process-wide random generators that SDK libraries know of, by name.
std::map<std::string, std::string> generator_states() {
  std::map<std::string, std::string> states;
  for (const WorkerService& service : worker_services()) {
    if (service.generator_state) states[service.name] = service.generator_state();
  }
  return states;
}

void refuse_global_generators(const std::string& op, const std::map<std::string, std::string>& before) {
  for (const auto& [name, state] : generator_states()) {
    const auto old = before.find(name);
    if (old == before.end() || old->second == state) continue;
    throw Error(ErrorKind::op,
                fmt::format("op {} drew from the global generator '{}'; an op draws from context.random() only, "
                            "or its result depends on what ran before it",
                            op, name));
  }
}

// The input that could not be read, for the coordinator to have its node evaluated again.
struct UnreadableInput {
  std::size_t index;
  std::string message;
};

class Worker {
 public:
  Worker(const WorkerOptions& options, Store& store)
      : options_(options), store_(store), recent_(store), link_(options.fd, options.heartbeat_seconds) {}

  [[noreturn]] void run() {
    link_.send({{"type", "ready"}});
    while (true) {
      const Task task = task_from_json(link_.next_task());
      Json answer = evaluate(task);
      answer["id"] = task.id;
      std::fflush(nullptr);  // what the op printed belongs before its end
      link_.task_ended();
      link_.send(answer);
    }
  }

 private:
  struct Checkpoints {
    double last = 0;
    bool used = false;            // the store holds or held one
    bool resumed = false;         // the op goes on from one, which has not been told yet
    bool asked = false;           // the op knows about checkpoints
    bool offered_at_end = false;  // it was told that one is due since it was asked to end
  };

  Json evaluate(const Task& task) {
    try {
      return evaluate_or_throw(task);
    } catch (const Cancelled&) {
      return {{"type", "cancelled"}};
    } catch (const UnreadableInput& input) {
      return {{"type", "damaged"}, {"input", input.index}, {"message", input.message}};
    } catch (const Error& error) {
      if (!store_failure_.empty()) return {{"type", "environment"}, {"message", store_failure_}};
      const bool refused = error.kind() == ErrorKind::input || error.kind() == ErrorKind::usage;
      return {{"type", "failed"}, {"message", error.what()}, {"refused", refused}};
    } catch (const std::exception& error) {
      // A store that cannot be written ends the run, not only this node.
      if (!store_failure_.empty()) return {{"type", "environment"}, {"message", store_failure_}};
      return {{"type", "failed"}, {"message", error.what()}};
    } catch (...) {
      return {{"type", "failed"}, {"message", fmt::format("op {} threw something that is no exception", task.op)}};
    }
  }

  Json evaluate_or_throw(const Task& task) {
    store_failure_.clear();
    load_plugins(task);
    set_up_services(task.threads);
    checkpoints_ = {};
    checkpoints_.last = monotonic_seconds();
    RunRequest request = make_request(task);
    name_running_op(task.op);
    const auto generators = generator_states();
    reset_peak_memory();
    link_.send({{"type", "started"}});
    const double start = monotonic_seconds();
    const Value value = run_op(request);
    const double seconds = monotonic_seconds() - start;
    const std::uint64_t peak = peak_memory();
    refuse_global_generators(task.op, generators);
    return store_value(value, seconds, peak, seconds > task.quick_seconds ? Durability::power_cut : Durability::kill);
  }

  Json store_value(const Value& value, double seconds, std::uint64_t peak, Durability durability) {
    try {
      return {{"type", "done"},
              {"manifest", to_json(store_.put(value, durability))},
              {"seconds", seconds},
              {"peak_memory", peak},
              {"checkpointed", checkpoints_.used}};
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::environment) store_failure_ = error.what();
      throw;
    }
  }

  void load_plugins(const Task& task) {
    for (const TaskPlugin& plugin : task.plugins) {
      if (loaded_.count(plugin.name)) continue;
      if (hash_file(plugin.file) != plugin.binary) {
        throw Error(ErrorKind::environment, fmt::format("plugin {}: {} has changed since this run began; run again",
                                                        plugin.name, plugin.file.string()));
      }
      PluginInfo info;
      info.name = plugin.name;
      info.file = plugin.file;
      info.origin = plugin.origin;
      info.binary = plugin.binary;
      info.stamp = read_stamp(plugin.file);
      load_plugin(info);
      loaded_.insert(plugin.name);
    }
  }

  void set_up_services(int threads) {
    const auto& services = worker_services();
    for (; services_set_up_ < services.size(); ++services_set_up_) {
      if (services[services_set_up_].set_up) services[services_set_up_].set_up(threads);
    }
  }

  RunRequest make_request(const Task& task) {
    RunRequest request;
    request.op = task.op;
    request.params = task.params;
    for (std::size_t i = 0; i < task.inputs.size(); ++i) {
      try {
        request.inputs.emplace_back(task.inputs[i].role, recent_.get(task.inputs[i]));
      } catch (const DamagedBlob& damage) {
        throw UnreadableInput{i, damage.what()};
      }
    }
    request.seed = task.seed;
    request.occurrence = task.stream;
    request.threads = task.threads;
    request.device = task.device;
    request.progress = [this](auto done, auto total, const auto& unit, const auto& metrics) {
      tell_progress(done, total, unit, metrics);
    };
    request.log = [this](const std::string& line) {
      fmt::print(stderr, "{}\n", line);
      link_.send({{"type", "log"}, {"line", well_formed(line)}});
    };
    request.checkpoint_due = [this] { return checkpoint_due(); };
    request.save_checkpoint = [this, key = task.key](const Value& state) { save_checkpoint(key, state); };
    request.load_checkpoint = [this, key = task.key] {
      auto state = store_.load_checkpoint(key);
      checkpoints_.used |= state.has_value();
      checkpoints_.resumed |= state.has_value();
      return state;
    };
    return request;
  }

  // An op that saves its state gets to do so once more before it is ended.
  void tell_progress(std::int64_t done, std::int64_t total, const std::string& unit,
                     const std::vector<std::pair<std::string, double>>& metrics) {
    if (link_.cancelled() && (!checkpoints_.asked || checkpoints_.offered_at_end)) throw Cancelled();
    const double now = monotonic_seconds();
    if (now - last_progress_ < kProgressSeconds && !checkpoints_.resumed) return;
    last_progress_ = now;
    Json list = Json::array();
    for (const auto& [name, value] : metrics) list.push_back(Json::array({name, value}));
    Json message = {{"type", "progress"}, {"done", done}, {"total", total}, {"unit", unit}, {"metrics", list}};
    if (checkpoints_.resumed) message["resumed"] = true;
    checkpoints_.resumed = false;
    link_.send(message);
  }

  void save_checkpoint(const Hash& key, const Value& state) {
    try {
      store_.save_checkpoint(key, state);
    } catch (const Error& error) {
      store_failure_ = error.what();  // the store's, although the op will report it as its own
      throw;
    }
    checkpoints_.used = true;
    checkpoints_.last = monotonic_seconds();
  }

  bool checkpoint_due() {
    checkpoints_.asked = true;
    if (link_.cancelled()) checkpoints_.offered_at_end = true;
    return link_.cancelled() || monotonic_seconds() - checkpoints_.last >= options_.checkpoint_seconds;
  }

  const WorkerOptions options_;
  Store& store_;
  RecentFields recent_;
  WorkerLink link_;
  std::set<std::string> loaded_;
  std::size_t services_set_up_ = 0;
  Checkpoints checkpoints_;
  double last_progress_ = 0;
  std::string store_failure_;
};

}  // namespace

int worker_main(const WorkerOptions& options) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::fcntl(options.fd, F_SETFD, FD_CLOEXEC) != 0) {
    fmt::print(stderr, "colonnade: worker: --fd {} is not open; workers are started by colonnade itself\n", options.fd);
    return kExitEnvironment;
  }
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C reaches every process of the terminal; the coordinator decides
  try {
    const auto store = Store::open(options.store, Store::Role::worker);
    install_fault_handler(*store);
    set_blob_sinks([&store](DType dtype, const auto& shape) { return store->sink(dtype, shape); });
    Worker(options, *store).run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "colonnade: worker: {}\n", error.what());
  }
  return kExitEnvironment;
}

}  // namespace colonnade::host
