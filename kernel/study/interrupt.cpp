#include "kernel/study/interrupt.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "kernel/lua/limits.h"

namespace colonnade::host {
namespace {

constexpr std::array<int, 3> handled = {SIGINT, SIGTERM, SIGHUP};
constexpr int exit_interrupted = 130;

std::function<void()> current_action;
std::atomic<int> calls{0};
constexpr int patience = 2;

void handle(int) {
  const int saved = errno;
  if (++calls > patience) ::_exit(exit_interrupted);
  interrupt_lua();
  current_action();
  errno = saved;
}

}  // namespace

InterruptGuard::InterruptGuard(std::function<void()> action) {
  current_action = std::move(action);
  calls = 0;
  struct sigaction now {};
  now.sa_handler = handle;
  ::sigemptyset(&now.sa_mask);
  for (std::size_t i = 0; i < handled.size(); ++i) ::sigaction(handled[i], &now, &before_[i]);
}

InterruptGuard::~InterruptGuard() {
  for (std::size_t i = 0; i < handled.size(); ++i) ::sigaction(handled[i], &before_[i], nullptr);
  clear_lua_interrupt();
}

}  // namespace colonnade::host
