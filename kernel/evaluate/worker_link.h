#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "kernel/evaluate/protocol.h"

namespace colonnade::host {

// A worker's side of its connection. A helper thread reads, so that a task under way can be cancelled and the
// coordinator's end is noticed at once (the process then ends), and tells that the worker lives while a task is under
// way. `next_task` is for the main thread; `send` and `cancelled` for any.
class WorkerLink {
 public:
  WorkerLink(int fd, double heartbeat_seconds);
  WorkerLink(const WorkerLink&) = delete;
  WorkerLink& operator=(const WorkerLink&) = delete;

  [[noreturn]] static void leave();  // at once, without destructors: the coordinator is gone

  Json next_task();
  void task_ended() { busy_ = false; }
  void send(const Json& message);
  bool cancelled() const { return cancelled_; }

 private:
  void listen();
  void receive(const Json& message);

  const int fd_;
  const int heartbeat_ms_;
  std::atomic<bool> busy_ = false, cancelled_ = false;
  std::mutex send_mutex_, task_mutex_;
  std::condition_variable task_arrived_;
  std::deque<Json> tasks_;
  std::thread listener_;
};

}  // namespace colonnade::host
