#include "kernel/lua/limits.h"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "kernel/lua/position.h"
#include "kernel/lua/state.h"

namespace colonnade::host {

namespace {

std::atomic<bool> interrupt_asked = false;

constexpr int kHookPeriod = 1000;           // instructions
constexpr double kInterruptPatience = 0.5;  // seconds in one function in C after Ctrl-C
constexpr int kExitUsage = 2, kExitInterrupted = 130;

double processor_seconds(clockid_t clock) {
  constexpr double kNanosecond = 1e-9;
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * kNanosecond;
}

}  // namespace

void interrupt_lua() {
  interrupt_asked = true;
}
void clear_lua_interrupt() {
  interrupt_asked = false;
}

LuaLimiter::LuaLimiter(LuaLimits limits, std::function<std::string(const std::string&)> display)
    : limits_(limits), display_(std::move(display)), watchdog_([this] { watch(); }) {}

LuaLimiter::~LuaLimiter() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  watchdog_.join();
}

void* LuaLimiter::allocate(void* limiter, void* block, std::size_t old_size, std::size_t new_size) {
  auto& self = *static_cast<LuaLimiter*>(limiter);
  if (block == nullptr) old_size = 0;  // Lua passes the kind of object instead
  if (new_size == 0) {
    std::free(block);
    self.used_ -= old_size;
    return nullptr;
  }
  if (new_size > old_size && self.used_ + (new_size - old_size) > self.limits_.memory) {
    if (self.refused_ && self.running_ != nullptr && self.exceeded_.empty()) {
      constexpr std::size_t kMebibyte = std::size_t{1} << 20;
      self.exceed(self.running_,
                  fmt::format("the study needs more than {} MiB of memory in Lua; large data belongs into "
                              "the values of ops",
                              self.limits_.memory / kMebibyte));
    }
    self.refused_ = true;
    return nullptr;
  }
  void* moved = std::realloc(block, new_size);
  if (moved == nullptr) return nullptr;
  if (new_size > old_size) self.refused_ = false;
  self.used_ += new_size - old_size;
  return moved;
}

void LuaLimiter::enter(lua_State* thread) {
  instructions_ = 0;
  refused_ = false;
  exceeded_.clear();
  interrupted_ = false;
  running_ = thread;
  lua_sethook(thread, &LuaLimiter::on_hook, LUA_MASKCOUNT | LUA_MASKCALL, kHookPeriod);
  {
    const std::lock_guard lock(mutex_);
    pthread_getcpuclockid(pthread_self(), &clock_);
    function_.clear();
    position_.clear();
  }
  ++ticks_;
  active_ = true;
}

void LuaLimiter::leave() {
  active_ = false;
  lua_sethook(running_, nullptr, 0, 0);
  running_ = nullptr;
}

void LuaLimiter::on_hook(lua_State* thread, lua_Debug* event) {
  LuaLimiter& self = LuaState::of(thread).limiter();
  ++self.ticks_;
  if (event->event == LUA_HOOKCOUNT) {
    self.on_count(thread);
  } else {
    self.on_call(thread, event);
  }
}

void LuaLimiter::on_count(lua_State* thread) {
  if (interrupt_asked) {
    interrupted_ = true;
    exceed(thread, "interrupted");
  }
  instructions_ += kHookPeriod;
  if (exceeded_.empty() && instructions_ > limits_.instructions) {
    exceed(thread, fmt::format("the study ran for more than {} million instructions; is there an endless loop?",
                               limits_.instructions / 1'000'000));
  }
  if (exceeded_.empty()) return;
  lua_pushlstring(thread, exceeded_.data(), exceeded_.size());
  lua_error(thread);
}

// Notes which function in C begins, so that the watchdog can name it: once it runs, nothing in the state can be asked.
void LuaLimiter::on_call(lua_State* thread, lua_Debug* event) {
  if (lua_getinfo(thread, "S", event) == 0 || event->what[0] != 'C') return;
  lua_getinfo(thread, "n", event);
  const std::string position = user_position(thread);
  const std::lock_guard lock(mutex_);
  function_ = event->name != nullptr ? event->name : "a function";
  position_ = position;
}

void LuaLimiter::exceed(lua_State* thread, const std::string& what) {
  exceeded_ = user_position(thread) + what;
  // Every instruction from here on asks the hook, which raises again.
  lua_sethook(thread, &LuaLimiter::on_hook, LUA_MASKCOUNT, 1);
}

// Counts processor time rather than the wall's: a process that gets no processor is not at fault.
void LuaLimiter::watch() {
  constexpr double kLongestPoll = 0.2;
  constexpr double kPollsALimit = 4;
  const std::chrono::duration<double> poll(std::min(kLongestPoll, limits_.seconds / kPollsALimit));
  std::uint64_t seen_ticks = 0;
  double seen_at = 0;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait_for(lock, poll);
    if (!active_) continue;
    const double now = processor_seconds(clock_);
    if (ticks_ != seen_ticks) {
      seen_ticks = ticks_;
      seen_at = now;
    }
    const double quiet = now - seen_at;
    if (quiet > limits_.seconds || (interrupt_asked && quiet > kInterruptPatience)) end_process();
  }
}

// Nothing can stop a function in C but the end of the process. The store and the journal are safe against that at any
// moment.
void LuaLimiter::end_process() {
  if (interrupt_asked) _exit(kExitInterrupted);
  const std::string message =
      "colonnade: " +
      display_(fmt::format("{}'{}' ran for more than {} s and cannot be stopped; is a pattern or a range too large?",
                           position_, function_, limits_.seconds)) +
      "\n";
  const auto written = ::write(STDERR_FILENO, message.data(), message.size());
  (void)written;  // there is nowhere left to complain
  _exit(kExitUsage);
}

}  // namespace colonnade::host
