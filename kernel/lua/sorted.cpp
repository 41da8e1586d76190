// pairs and next in the order of their keys, and a sort that does not consult the clock as Lua's own does for long
// tables.

#include <utility>
#include <vector>

#include "kernel/lua/binding.h"
#include "kernel/lua/sandbox.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

// Upvalues: the sorted keys, the position of the last one given.
int next_pair(lua_State* L) {
  lua_Integer position = lua_tointeger(L, lua_upvalueindex(2));
  while (true) {
    lua_rawgeti(L, lua_upvalueindex(1), ++position);
    if (lua_isnil(L, -1)) return 1;
    lua_pushvalue(L, -1);
    if (lua_rawget(L, 1) != LUA_TNIL) break;  // a key may be cleared on the way
    lua_pop(L, 2);
  }
  lua_pushinteger(L, position);
  lua_replace(L, lua_upvalueindex(2));
  return 2;
}

// Compares t[a] and t[b] of the table at 1, by the function at 2 or "<".
bool comes_before(lua_State* L, lua_Integer a, lua_Integer b) {
  constexpr int kComparator = 2;
  const bool has_comparator = !lua_isnoneornil(L, kComparator);
  if (has_comparator) lua_pushvalue(L, kComparator);
  lua_rawgeti(L, 1, a);
  lua_rawgeti(L, 1, b);
  if (!has_comparator) {
    const bool result = lua_compare(L, -2, -1, LUA_OPLT) != 0;
    lua_pop(L, 2);
    return result;
  }
  lua_call(L, 2, 1);
  const bool result = lua_toboolean(L, -1) != 0;
  lua_pop(L, 1);
  return result;
}

// Merges runs of doubling width; safe with any comparator, even one that contradicts itself.
std::vector<lua_Integer> merge_sorted(lua_State* L, lua_Integer count) {
  std::vector<lua_Integer> order, merged(static_cast<std::size_t>(count));
  for (lua_Integer i = 1; i <= count; ++i) order.push_back(i);
  const std::size_t size = order.size();
  for (std::size_t width = 1; width < size; width *= 2) {
    for (std::size_t begin = 0; begin < size; begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, size), end = std::min(begin + 2 * width, size);
      std::size_t left = begin, right = middle;
      for (std::size_t out = begin; out < end; ++out) {
        const bool take_right = left == middle || (right < end && comes_before(L, order[right], order[left]));
        merged[out] = order[take_right ? right++ : left++];
      }
    }
    std::swap(order, merged);
  }
  return order;
}

}  // namespace

int sorted_pairs(lua_State* L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
    lua_pushvalue(L, 1);
    lua_call(L, 1, 3);
    return 3;
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  push_sorted_keys(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, &guarded<next_pair>, 2);
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

// Sorts anew at every call: a loop belongs to pairs, `next` answers whether there is anything.
int sorted_next(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  push_sorted_keys(L, 1);
  constexpr int kKeys = 3;
  const auto count = static_cast<lua_Integer>(lua_rawlen(L, kKeys));
  lua_Integer position = 0;
  if (!lua_isnil(L, 2)) {
    bool found = false;
    while (!found && position < count) {
      lua_rawgeti(L, kKeys, ++position);
      found = lua_rawequal(L, -1, 2) != 0;
      lua_pop(L, 1);
    }
    if (!found) raise(L, "next: the key is not in the table");
  }
  lua_rawgeti(L, kKeys, position + 1);
  if (lua_isnil(L, -1)) return 1;
  lua_pushvalue(L, -1);
  lua_rawget(L, 1);
  return 2;
}

int stable_sort(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  const auto count = static_cast<lua_Integer>(lua_rawlen(L, 1));
  const std::vector<lua_Integer> order = merge_sorted(L, count);
  lua_createtable(L, static_cast<int>(count), 0);
  for (std::size_t i = 0; i < order.size(); ++i) {
    lua_rawgeti(L, 1, order[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  for (lua_Integer i = 1; i <= count; ++i) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, 1, i);
  }
  return 0;
}

}  // namespace colonnade::host
