#include "kernel/lua/state.h"

#include <fmt/format.h>

#include "kernel/lua/binding.h"
#include "kernel/lua/describe.h"

namespace colonnade::host {

namespace {

constexpr std::size_t kFramesShown = 8;

// The error object as text, and the way there: every further frame of the user's on a line of its own.
std::string explained(lua_State* L, const std::string& message, int first_level) {
  const std::vector<std::string> frames = user_frames(L, first_level);
  if (frames.empty()) return message;
  std::size_t named = frames.size();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (message.starts_with(frames[i] + ":")) {
      named = i;
      break;
    }
  }
  std::string text = message;
  if (named == frames.size()) {
    named = 0;
    if (!has_position(message)) text = frames[0] + ": " + message;
  }
  for (std::size_t i = named + 1; i < frames.size() && i <= named + kFramesShown; ++i) {
    text += "\n  called from " + frames[i];
  }
  return text;
}

std::string error_text(lua_State* L, int index) {
  if (lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER) {
    std::size_t size = 0;
    lua_pushvalue(L, index);
    const char* text = lua_tolstring(L, -1, &size);
    std::string result(text, size);
    lua_pop(L, 1);
    return result;
  }
  return fmt::format("an error was raised with {} instead of a message", described(L, index));
}

int handle_error(lua_State* L) {
  const std::string text = explained(L, error_text(L, 1), 1);
  lua_pushlstring(L, text.data(), text.size());
  return 1;
}

int run_body(lua_State* L) {
  const auto& body = *static_cast<const std::function<void(lua_State*)>*>(lua_touserdata(L, 1));
  lua_settop(L, 0);
  body(L);
  return 0;
}

}  // namespace

LuaState::LuaState(LuaLimits limits, void* owner, std::string folder)
    : owner_(owner),
      folder_(std::move(folder)),
      limiter_(std::make_unique<LuaLimiter>(limits, [this](const std::string& text) { return displayed(text); })) {
  main_ = lua_newstate(&LuaLimiter::allocate, limiter_.get());
  if (main_ == nullptr) throw Error(ErrorKind::environment, "there is no memory for a Lua state");
  *static_cast<LuaState**>(lua_getextraspace(main_)) = this;
}

LuaState::~LuaState() {
  lua_close(main_);
}

LuaState& LuaState::of(lua_State* L) {
  return **static_cast<LuaState**>(lua_getextraspace(L));
}

void LuaState::call(int arguments, int results) {
  const int function = lua_gettop(main_) - arguments;
  lua_pushcfunction(main_, &handle_error);
  lua_insert(main_, function);
  limiter_->enter(main_);
  const int status = lua_pcall(main_, arguments, results, function);
  limiter_->leave();
  lua_remove(main_, function);
  if (status == LUA_OK && limiter_->exceeded().empty()) return;
  const std::string message = status == LUA_OK ? "" : error_text(main_, -1);
  if (status != LUA_OK) lua_pop(main_, 1);
  fail(message);
}

void LuaState::run(const std::function<void(lua_State*)>& body) {
  lua_pushcfunction(main_, &guarded<run_body>);
  lua_pushlightuserdata(main_, const_cast<std::function<void(lua_State*)>*>(&body));  // Lua knows no const
  call(1, 0);
}

LuaState::Resumed LuaState::resume(lua_State* thread, int arguments) {
  int results = 0;
  limiter_->enter(thread);
  const int status = lua_resume(thread, main_, arguments, &results);
  limiter_->leave();
  if (limiter_->exceeded().empty()) {
    if (status == LUA_YIELD) return Resumed::yielded;
    if (status == LUA_OK) return Resumed::returned;
  }
  const std::string message = status > LUA_YIELD ? explained(thread, error_text(thread, -1), 0) : "";
  fail(message);
}

void LuaState::fail(const std::string& message) {
  if (limiter_->interrupted()) throw Cancelled();
  throw Error(ErrorKind::usage, displayed(limiter_->exceeded().empty() ? message : limiter_->exceeded()));
}

void LuaState::load(const std::string& text, const std::string& chunk) {
  constexpr char kCompiledMark = '\x1b';
  chunks_.insert(chunk);
  if (!text.empty() && text.front() == kCompiledMark) {
    throw Error(ErrorKind::usage, chunk + ":1: this is compiled Lua; only text is run");
  }
  const std::string name = "@" + chunk;
  if (luaL_loadbufferx(main_, text.data(), text.size(), name.c_str(), "t") == LUA_OK) return;
  const std::string message = error_text(main_, -1);
  lua_pop(main_, 1);
  throw Error(ErrorKind::usage, message);
}

std::string LuaState::displayed(const std::string& message) const {
  if (folder_.empty()) return message;
  for (const std::string& chunk : chunks_) {
    if (!message.starts_with(chunk + ":")) continue;
    return chunk.starts_with(library_prefix + 1) ? message : folder_ + "/" + message;
  }
  return message;
}

}  // namespace colonnade::host
