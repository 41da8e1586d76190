#include "kernel/lua/sandbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/lua/binding.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

// Addresses of these are keys in the registry: the table of what exists, and the one that scripts see.
const char existing_key = 0, visible_key = 0;

constexpr std::array basic_names = {"assert", "error",  "getmetatable", "ipairs",   "pcall", "rawequal", "rawget",
                                    "rawlen", "rawset", "select",       "tonumber", "type",  "xpcall",   "_VERSION"};
constexpr std::array absent_names = {"collectgarbage", "coroutine",  "debug", "dofile", "io",
                                     "loadfile",       "loadstring", "os",    "package"};

int plain_tostring(lua_State* L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (!lua_isstring(L, -1)) raise(L, "'__tostring' must return a string");
    return 1;
  }
  push_text(L, plain_text(L, 1));
  return 1;
}

int print_line(lua_State* L) {
  std::string line;
  const int count = lua_gettop(L);
  for (int i = 1; i <= count; ++i) {
    lua_pushcfunction(L, &guarded<plain_tostring>);
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
    line += (i > 1 ? "\t" : "") + text_at(L, -1);
    lua_pop(L, 1);
  }
  line += '\n';
  std::fputs(line.c_str(), stderr);  // standard output belongs to the command that reads the study
  return 0;
}

// The original string.format writes addresses for %p, and for %s of what has no text of its own.
int format_text(lua_State* L) {
  const std::string pattern = luaL_checkstring(L, 1);
  for (std::size_t at = pattern.find('%'); at != std::string::npos; at = pattern.find('%', at)) {
    if (++at == pattern.size()) break;
    constexpr std::string_view kModifiers = "-+ #.0123456789";
    at = pattern.find_first_not_of(kModifiers, at);
    if (at == std::string::npos) break;
    if (pattern[at++] == 'p') raise(L, "string.format: '%p' would write an address, which differs in every run");
  }
  const int count = lua_gettop(L);
  for (int i = 2; i <= count; ++i) {
    const int type = lua_type(L, i);
    if (type != LUA_TTABLE && type != LUA_TFUNCTION && type != LUA_TUSERDATA) continue;
    lua_pushcfunction(L, &guarded<plain_tostring>);
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
    lua_replace(L, i);
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, count, LUA_MULTRET);
  return lua_gettop(L);
}

int draw_random(lua_State* L) {
  if (lua_pushthread(L) == 0) {
    raise(L,
          "math.random draws numbers in the order of execution, which differs between runs of an adaptive arm; use "
          "trial.random(i)");
  }
  lua_pop(L, 1);
  const int count = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, count, LUA_MULTRET);
  return lua_gettop(L);
}

int set_metatable(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_istable(L, 2)) {
    for (const char* refused : {"__gc", "__mode"}) {
      lua_pushstring(L, refused);
      if (lua_rawget(L, 2) != LUA_TNIL) {
        raise(L, fmt::format("setmetatable: '{}' depends on when memory is collected, which differs between runs",
                             refused));
      }
      lua_pop(L, 1);
    }
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

int load_text(lua_State* L) {
  if (lua_type(L, 1) != LUA_TSTRING) raise(L, fmt::format("load takes a string, not {}", described(L, 1)));
  const std::string text = text_at(L, 1);
  if (text.starts_with('\x1b')) raise(L, "load: this is compiled Lua; only text is run");
  if (luaL_loadbufferx(L, text.data(), text.size(), luaL_optstring(L, 2, "=(load)"), "t") != LUA_OK) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  if (lua_isnoneornil(L, 4)) {
    push_globals(L);
  } else {
    lua_pushvalue(L, 4);
  }
  lua_setupvalue(L, -2, 1);
  return 1;
}

std::vector<std::string> existing_names(lua_State* L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &existing_key);
  std::vector<std::string> names = string_keys(L, -1, "the globals");
  lua_pop(L, 1);
  return names;
}

int read_global(lua_State* L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &existing_key);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  const std::string name = plain_text(L, 2);
  if (std::find(absent_names.begin(), absent_names.end(), name) != absent_names.end()) {
    raise(L, fmt::format("'{}' does not exist in studies: a study only describes, it has no files, clock or processes",
                         name));
  }
  std::vector<std::string> names = visible_locals(L);
  for (const std::string& global : existing_names(L)) names.push_back(global);
  raise(L, fmt::format("undefined global '{}'{}", name, did_you_mean(name, names)));
}

int write_global(lua_State* L) {
  raise(L, fmt::format("assignment to the global '{}'; write 'local {}'", plain_text(L, 2), plain_text(L, 2)));
}

void wrap(lua_State* L, const char* name, lua_CFunction function) {
  lua_getfield(L, -1, name);
  lua_pushcclosure(L, function, 1);
  lua_setfield(L, -2, name);
}

void drop(lua_State* L, const char* name) {
  lua_pushnil(L);
  lua_setfield(L, -2, name);
}

void open_library(lua_State* L, const char* name, lua_CFunction open) {
  luaL_requiref(L, name, open, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, name);
}

// The table of what exists is on the top.
void open_libraries(lua_State* L) {
  open_library(L, "math", luaopen_math);
  seed_math_random(L);
  wrap(L, "random", &guarded<draw_random>);
  drop(L, "randomseed");
  lua_pop(L, 1);

  open_library(L, "string", luaopen_string);
  wrap(L, "format", &guarded<format_text>);
  drop(L, "dump");
  lua_pop(L, 1);
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);  // all strings share it
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 2);

  open_library(L, "table", luaopen_table);
  lua_pushcfunction(L, &guarded<stable_sort>);
  lua_setfield(L, -2, "sort");
  lua_pop(L, 1);

  open_library(L, "utf8", luaopen_utf8);
  lua_pop(L, 1);
}

void open_basic(lua_State* L) {
  luaL_requiref(L, LUA_GNAME, luaopen_base, 0);
  for (const char* name : basic_names) {
    lua_getfield(L, -1, name);
    lua_setfield(L, -3, name);
  }
  lua_getfield(L, -1, "setmetatable");
  lua_pushcclosure(L, &guarded<set_metatable>, 1);
  lua_setfield(L, -3, "setmetatable");
  lua_pop(L, 1);
  const luaL_Reg own[] = {{"pairs", &guarded<sorted_pairs>}, {"next", &guarded<sorted_next>},
                          {"print", &guarded<print_line>},   {"tostring", &guarded<plain_tostring>},
                          {"load", &guarded<load_text>},     {nullptr, nullptr}};
  luaL_setfuncs(L, own, 0);
}

}  // namespace

void seed_math_random(lua_State* L) {
  constexpr lua_Integer kSeed = 1;
  lua_getfield(L, -1, "randomseed");
  lua_pushinteger(L, kSeed);
  lua_call(L, 1, 0);
}

void open_sandbox(lua_State* L) {
  lua_newtable(L);
  open_basic(L);
  open_libraries(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &existing_key);

  lua_newtable(L);
  const luaL_Reg metamethods[] = {
      {"__index", &guarded<read_global>}, {"__newindex", &guarded<write_global>}, {nullptr, nullptr}};
  lua_newtable(L);
  luaL_setfuncs(L, metamethods, 0);
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &visible_key);
}

void add_global(lua_State* L, const char* name) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &existing_key);
  lua_insert(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

void push_globals(lua_State* L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &visible_key);
}

}  // namespace colonnade::host
