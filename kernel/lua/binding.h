#pragma once

#include <lua.hpp>
#include <new>
#include <string>
#include <utility>

#include "colonnade/error.h"
#include "kernel/lua/position.h"

namespace colonnade::host {

// Raises an error at the user's line; the C++ frames in between are unwound, since Lua is compiled as C++.
[[noreturn]] inline void raise(lua_State* L, const std::string& message) {
  throw Error(ErrorKind::usage, user_position(L) + message);
}

// A function of the host as Lua calls it: what it throws becomes a Lua error with the user's position. Lua's own errors
// are no std::exception and pass.
template <auto function>
int guarded(lua_State* L) {
  {
    std::string message;
    try {
      return function(L);
    } catch (const std::exception& error) {
      message = error.what();
    }
    if (!has_position(message)) message = user_position(L) + message;
    lua_pushlstring(L, message.data(), message.size());
  }
  return lua_error(L);
}

// C++ objects as Lua values. Specialise `lua_type_name` for each type; it is what messages call it.
template <typename T>
inline constexpr const char* lua_type_name = nullptr;

template <typename T>
std::string registry_name() {
  return std::string("colonnade.") + lua_type_name<T>;
}

template <typename T>
int destroy(lua_State* L) {
  static_cast<T*>(lua_touserdata(L, 1))->~T();
  return 0;
}

// Makes the type known with these metamethods; scripts can neither see nor change the metatable.
template <typename T>
void register_type(lua_State* L, const luaL_Reg* metamethods) {
  luaL_newmetatable(L, registry_name<T>().c_str());
  lua_pushstring(L, lua_type_name<T>);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pushcfunction(L, &destroy<T>);
  lua_setfield(L, -2, "__gc");
  luaL_setfuncs(L, metamethods, 0);
  lua_pop(L, 1);
}

template <typename T>
T& push_object(lua_State* L, T object) {
  void* memory = lua_newuserdatauv(L, sizeof(T), 0);
  T* made = new (memory) T(std::move(object));
  luaL_setmetatable(L, registry_name<T>().c_str());
  return *made;
}

// nullptr if the value at `index` is something else.
template <typename T>
T* object_at(lua_State* L, int index) {
  return static_cast<T*>(luaL_testudata(L, index, registry_name<T>().c_str()));
}

inline std::string text_at(lua_State* L, int index) {
  std::size_t size = 0;
  const char* text = lua_tolstring(L, index, &size);
  return text == nullptr ? std::string() : std::string(text, size);
}

inline void push_text(lua_State* L, const std::string& text) {
  lua_pushlstring(L, text.data(), text.size());
}

}  // namespace colonnade::host
