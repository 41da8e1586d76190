#pragma once

#include <csignal>
#include <functional>

namespace colonnade::host {

// While it lives, SIGINT, SIGTERM and SIGHUP interrupt Lua and call `action` (which must be async-signal-safe); the
// third ends the process at once. One at a time, on the main thread.
class InterruptGuard {
 public:
  explicit InterruptGuard(std::function<void()> action);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction before_[3];
};

}  // namespace colonnade::host
