#include "kernel/lua/values.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/lua/binding.h"
#include "kernel/lua/describe.h"

namespace colonnade::host {

namespace {

constexpr int kStackNeeded = 16;
constexpr std::size_t kDeepest = 64;

// A key that has a place in the order.
struct Key {
  int rank = 0;  // boolean, number, string
  bool is_integer = false;
  lua_Integer integer = 0;
  double number = 0;
  std::string text;
};

bool key_at(lua_State* L, int index, Key& key) {
  switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
      key.rank = 0;
      key.number = lua_toboolean(L, index);
      return true;
    case LUA_TNUMBER:
      key.rank = 1;
      key.is_integer = lua_isinteger(L, index) != 0;
      if (key.is_integer) key.integer = lua_tointeger(L, index);
      key.number = lua_tonumber(L, index);
      return true;
    case LUA_TSTRING:
      key.rank = 2;
      key.text = text_at(L, index);
      return true;
    default:
      return false;
  }
}

bool before(const Key& a, const Key& b) {
  if (a.rank != b.rank) return a.rank < b.rank;
  if (a.is_integer && b.is_integer) return a.integer < b.integer;
  if (a.number != b.number) return a.number < b.number;
  return a.text < b.text;
}

std::vector<Key> sorted_keys(lua_State* L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, kStackNeeded, "a table is nested too deeply");
  std::vector<Key> keys;
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    lua_pop(L, 1);
    Key key;
    if (!key_at(L, -1, key)) {
      raise(L, fmt::format(
                   "a table with {} as a key has no order that is the same in every run; use strings or numbers as "
                   "keys",
                   described(L, -1)));
    }
    keys.push_back(std::move(key));
  }
  std::sort(keys.begin(), keys.end(), before);
  return keys;
}

void push_key(lua_State* L, const Key& key) {
  if (key.rank == 0) {
    lua_pushboolean(L, key.number != 0);
  } else if (key.rank == 2) {
    push_text(L, key.text);
  } else if (key.is_integer) {
    lua_pushinteger(L, key.integer);
  } else {
    lua_pushnumber(L, key.number);
  }
}

Json convert(lua_State* L, int index, const std::string& what, std::vector<const void*>& path);

Json convert_table(lua_State* L, int index, const std::string& what, std::vector<const void*>& path) {
  index = lua_absindex(L, index);
  const void* identity = lua_topointer(L, index);
  if (std::find(path.begin(), path.end(), identity) != path.end()) {
    raise(L, what + " holds itself: a cycle; a value is a tree of tables");
  }
  if (path.size() >= kDeepest) raise(L, fmt::format("{} is nested more than {} tables deep", what, kDeepest));
  path.push_back(identity);
  const lua_Integer length = array_length(L, index);
  Json result = length > 0 ? Json::array() : Json::object();
  for (lua_Integer i = 1; i <= length; ++i) {
    lua_rawgeti(L, index, i);
    result.push_back(convert(L, -1, fmt::format("{}[{}]", what, i), path));
    lua_pop(L, 1);
  }
  if (length <= 0) {
    for (const std::string& key : string_keys(L, index, what)) {
      push_text(L, key);
      lua_rawget(L, index);
      result[key] = convert(L, -1, what + "." + key, path);
      lua_pop(L, 1);
    }
  }
  path.pop_back();
  return result;
}

Json convert(lua_State* L, int index, const std::string& what, std::vector<const void*>& path) {
  luaL_checkstack(L, kStackNeeded, "a table is nested too deeply");
  switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
      return nullptr;
    case LUA_TBOOLEAN:
      return lua_toboolean(L, index) != 0;
    case LUA_TNUMBER:
      if (lua_isinteger(L, index)) return static_cast<std::int64_t>(lua_tointeger(L, index));
      return lua_tonumber(L, index);
    case LUA_TSTRING:
      return text_at(L, index);
    case LUA_TTABLE:
      return convert_table(L, index, what, path);
    default:
      break;
  }
  raise(L, fmt::format("{} is {}; allowed: booleans, numbers, strings and tables of them", what, described(L, index)));
}

}  // namespace

void push_sorted_keys(lua_State* L, int index) {
  const std::vector<Key> keys = sorted_keys(L, index);
  lua_createtable(L, static_cast<int>(keys.size()), 0);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    push_key(L, keys[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
}

std::vector<std::string> string_keys(lua_State* L, int index, const std::string& what) {
  std::vector<std::string> names;
  for (const Key& key : sorted_keys(L, index)) {
    if (key.rank != 2) {
      push_key(L, key);
      raise(L, fmt::format("{} has {} as a key; allowed: names", what, described(L, -1)));
    }
    names.push_back(key.text);
  }
  return names;
}

lua_Integer array_length(lua_State* L, int index) {
  index = lua_absindex(L, index);
  lua_Integer count = 0, largest = 0;
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    lua_pop(L, 1);
    if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1) {
      lua_pop(L, 1);
      return -1;
    }
    largest = std::max(largest, lua_tointeger(L, -1));
    ++count;
  }
  return largest == count ? count : -1;
}

Json json_at(lua_State* L, int index, const std::string& what) {
  std::vector<const void*> path;
  return convert(L, index, what, path);
}

void push_json(lua_State* L, const Json& document) {
  luaL_checkstack(L, kStackNeeded, "a document is nested too deeply");
  switch (document.type()) {
    case Json::value_t::boolean:
      lua_pushboolean(L, document.get<bool>());
      return;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      lua_pushinteger(L, document.get<lua_Integer>());
      return;
    case Json::value_t::number_float:
      lua_pushnumber(L, document.get<double>());
      return;
    case Json::value_t::string:
      push_text(L, document.get_ref<const std::string&>());
      return;
    case Json::value_t::array: {
      lua_createtable(L, static_cast<int>(document.size()), 0);
      lua_Integer position = 0;
      for (const Json& item : document) {
        push_json(L, item);
        lua_rawseti(L, -2, ++position);
      }
      return;
    }
    case Json::value_t::object:
      lua_createtable(L, 0, static_cast<int>(document.size()));
      for (const auto& [key, item] : document.items()) {
        push_text(L, key);
        push_json(L, item);
        lua_rawset(L, -3);
      }
      return;
    default:
      lua_pushnil(L);
  }
}

}  // namespace colonnade::host
