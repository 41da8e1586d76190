#pragma once

#include <functional>
#include <lua.hpp>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "colonnade/error.h"
#include "kernel/lua/limits.h"

namespace colonnade::host {

// A Lua state under limits, without any library yet. One thread at a time.
class LuaState {
 public:
  // `owner` is what bindings need of the host, found again by `owner_of`. `folder` opens the file names in messages, as
  // the user wrote it ("studies/pillars", "" for the working folder).
  LuaState(LuaLimits limits, void* owner, std::string folder);
  ~LuaState();
  LuaState(const LuaState&) = delete;
  LuaState& operator=(const LuaState&) = delete;

  lua_State* main() const { return main_; }
  static LuaState& of(lua_State* L);
  LuaLimiter& limiter() const { return *limiter_; }
  template <typename Owner>
  static Owner& owner_of(lua_State* L) {
    return *static_cast<Owner*>(of(L).owner_);
  }

  // Calls the function that lies below its `arguments` on the main thread's stack and leaves its `results` there.
  // Throws Error(usage) with a complete message and the way the study got there, or Cancelled.
  void call(int arguments, int results);

  // Runs host code that makes Lua values on the main thread, so that a failure there is an Error and not the process's
  // end.
  void run(const std::function<void(lua_State*)>& body);

  enum class Resumed { yielded, returned };
  // Continues a coroutine; its results are on its own stack.
  Resumed resume(lua_State* thread, int arguments);

  // Pushes the compiled text, named `chunk` in messages. Error(usage) for mistakes of syntax and for compiled code.
  void load(const std::string& text, const std::string& chunk);

  // Puts the study's folder before a message that opens with the name of one of its chunks.
  std::string displayed(const std::string& message) const;

 private:
  [[noreturn]] void fail(const std::string& message);

  void* owner_;
  std::string folder_;
  std::set<std::string> chunks_;
  std::unique_ptr<LuaLimiter> limiter_;
  lua_State* main_ = nullptr;
};

}  // namespace colonnade::host
