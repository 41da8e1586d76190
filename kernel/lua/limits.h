#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <lua.hpp>
#include <mutex>
#include <string>
#include <thread>

namespace colonnade::host {

// What one call into Lua may use before it is ended.
struct LuaLimits {
  std::size_t memory = std::size_t{256} << 20;  // bytes of the whole state
  std::uint64_t instructions = 1'000'000'000;   // of the virtual machine, a call
  double seconds = 10;  // of processor time in one function written in C, which no hook can stop
};

// Asks Lua that is running in any state to end; async-signal-safe. A call that is ended so throws Cancelled. Stays in
// force until `clear_lua_interrupt`.
void interrupt_lua();
void clear_lua_interrupt();

// Holds one Lua state to its limits: it is the state's allocator, its hook and a watchdog thread. A script cannot
// swallow a limit with pcall: once exceeded, the hook raises again at every instruction until the call into Lua has
// ended.
//
// `display` turns a message that starts with a chunk's name into one for the user; the watchdog calls it on its own
// thread.
class LuaLimiter {
 public:
  LuaLimiter(LuaLimits limits, std::function<std::string(const std::string&)> display);
  ~LuaLimiter();
  LuaLimiter(const LuaLimiter&) = delete;
  LuaLimiter& operator=(const LuaLimiter&) = delete;

  static void* allocate(void* limiter, void* block, std::size_t old_size, std::size_t new_size);

  // Brackets a call into Lua on `thread` (the main one or a coroutine). Budgets start anew. Not nested.
  void enter(lua_State* thread);
  void leave();

  // The message of the limit that the last call exceeded, with the position; "" if none.
  const std::string& exceeded() const { return exceeded_; }
  bool interrupted() const { return interrupted_; }

 private:
  static void on_hook(lua_State* thread, lua_Debug* event);
  void on_count(lua_State* thread);
  void on_call(lua_State* thread, lua_Debug* event);
  void exceed(lua_State* thread, const std::string& what);
  void watch();
  [[noreturn]] void end_process();

  const LuaLimits limits_;
  const std::function<std::string(const std::string&)> display_;

  std::size_t used_ = 0;
  bool refused_ = false;  // the last request for memory; Lua collects garbage and asks once more
  std::uint64_t instructions_ = 0;
  lua_State* running_ = nullptr;
  std::string exceeded_;
  bool interrupted_ = false;

  std::atomic<std::uint64_t> ticks_ = 0;  // hooks that ran: a sign of life
  std::atomic<bool> active_ = false;
  std::mutex mutex_;                 // guards what follows
  std::string function_, position_;  // the function in C that was called last, and from where
  clockid_t clock_ = 0;              // processor time of the thread that runs Lua
  bool stop_ = false;
  std::condition_variable wake_;
  std::thread watchdog_;
};

}  // namespace colonnade::host
