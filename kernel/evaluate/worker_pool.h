#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "colonnade/hash.h"
#include "kernel/evaluate/protocol.h"
#include "kernel/evaluate/spawn.h"

namespace colonnade::host {

// A worker as the coordinator sees it.
struct WorkerProcess {
  int id = 0;
  pid_t pid = -1;
  FileDescriptor socket;
  FrameReader reader;
  std::string outgoing;  // not yet taken by the socket
  std::filesystem::path log;
  std::uintmax_t log_start = 0;  // where the log of the task under way begins

  std::string device;             // of its first task and all that follow: a process that has a card's libraries
                                  // is another one than those that compute on the CPU
  std::set<std::string> plugins;  // that it has loaded
  std::set<Hash> contents;        // fields that it has had in hand
  std::uint64_t last_used = 0;
  bool ready = false;  // has been heard of
  bool idle = true;
  bool retired = false;
  std::string killed_because;  // why the coordinator ended it; empty if it did not
};

struct WorkerEnd {
  bool by_signal = false;
  int code = 0;  // exit status or signal
};

// Starts workers, carries messages, notices ends. Owns the processes: none outlives it, and each is waited for.
// For the main thread only.
class WorkerPool {
 public:
  struct Handlers {
    std::function<void(WorkerProcess&, const Json&)> on_message;
    // The process is gone and waited for; the reference is valid during the call only.
    std::function<void(WorkerProcess&, const WorkerEnd&)> on_end;
  };

  // `command.log` is ignored: each worker has its own in `log_folder` (none if that is empty).
  WorkerPool(ChildCommand command, std::filesystem::path log_folder);
  ~WorkerPool() { end_all(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  WorkerProcess& start();
  // Idle workers end by themselves, busy ones are killed; all are gone when it returns.
  void end_all();
  void send(WorkerProcess& worker, const Json& message);
  // Waits for something to happen, at most `timeout_ms` (or until `wake_fd` is readable), and tells it.
  void poll(int timeout_ms, int wake_fd, const Handlers& handlers);
  void kill(WorkerProcess& worker, const std::string& because);
  // Lets a worker that has nothing to do go, at the next `poll`.
  void retire(WorkerProcess& worker) { worker.retired = true; }
  std::list<WorkerProcess>& workers() { return workers_; }
  int started() const { return started_; }

 private:
  using Position = std::list<WorkerProcess>::iterator;
  std::optional<Json> next_message(WorkerProcess& worker);
  void receive(WorkerProcess& worker, const Handlers& handlers, bool& ended);
  void end(Position worker, const Handlers& handlers);
  void flush(WorkerProcess& worker);
  void reap_retired();

  ChildCommand command_;
  std::filesystem::path log_folder_;
  std::list<WorkerProcess> workers_;
  std::vector<pid_t> retired_;
  int started_ = 0;
};

// What the worker writes from now on belongs to its next task.
void begin_log(WorkerProcess& worker);
// The last lines that it wrote since; "" if none.
std::string last_log_lines(const WorkerProcess& worker);

}  // namespace colonnade::host
