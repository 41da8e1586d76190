#include "kernel/lua/expression.h"

#include <fmt/format.h>

#include <lua.hpp>

#include "colonnade/error.h"
#include "kernel/lua/binding.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

constexpr int kMostInstructions = 1'000'000;

struct Request {
  const std::string& expression;
  const Json& params;
  double result = 0;
};

class State {
 public:
  State() : state_(luaL_newstate()) {
    if (state_ == nullptr) throw Error(ErrorKind::environment, "there is no memory for a Lua state");
  }
  ~State() { lua_close(state_); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  lua_State* get() const { return state_; }

 private:
  lua_State* state_;
};

void stop_endless(lua_State* L, lua_Debug*) {
  luaL_error(L, "it does not end");
}

void push_variables(lua_State* L, const Json& params) {
  lua_newtable(L);
  luaL_requiref(L, "math", luaopen_math, 0);
  for (const char* name : {"max", "min", "floor", "ceil", "sqrt", "log", "exp", "abs"}) {
    lua_getfield(L, -1, name);
    lua_setfield(L, -3, name);
  }
  for (const char* name : {"random", "randomseed"}) {
    lua_pushnil(L);
    lua_setfield(L, -2, name);
  }
  lua_setfield(L, -2, "math");
  for (const auto& [name, value] : params.items()) {
    push_json(L, value);
    lua_setfield(L, -2, name.c_str());
  }
}

int evaluate(lua_State* L) {
  auto& request = *static_cast<Request*>(lua_touserdata(L, 1));
  const std::string text = "return " + request.expression;
  if (luaL_loadbufferx(L, text.data(), text.size(), "=expression", "t") != LUA_OK) return lua_error(L);
  push_variables(L, request.params);
  lua_setupvalue(L, -2, 1);
  lua_call(L, 0, 1);
  if (!lua_isnumber(L, -1)) return luaL_error(L, "it gives a %s, not a number", luaL_typename(L, -1));
  request.result = lua_tonumber(L, -1);
  return 0;
}

}  // namespace

double evaluate_expression(const std::string& lua_expression, const Json& params) {
  const State state;
  lua_State* L = state.get();
  Request request{lua_expression, params};
  lua_sethook(L, &stop_endless, LUA_MASKCOUNT, kMostInstructions);
  lua_pushcfunction(L, &guarded<evaluate>);
  lua_pushlightuserdata(L, &request);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return request.result;
  throw Error(ErrorKind::environment,
              fmt::format("the expression '{}' cannot be evaluated: {}", lua_expression, text_at(L, -1)));
}

}  // namespace colonnade::host
