#pragma once

#include <lua.hpp>
#include <string>
#include <vector>

#include "colonnade/json.h"

namespace colonnade::host {

// The keys of the table at `index` in the one order that scripts ever see: false, true, numbers, strings, each by
// value. Leaves an array of the keys on the stack. Keys of other types have no order that is the same in every process:
// an error.
void push_sorted_keys(lua_State* L, int index);

// The table's string keys, sorted; keys of other types raise an error that opens with `what` and names what is allowed.
std::vector<std::string> string_keys(lua_State* L, int index, const std::string& what);

// Number of entries if the table's keys are exactly 1..n, else -1. An empty table has 0.
lua_Integer array_length(lua_State* L, int index);

// nil, booleans, numbers, strings and tables of them; a table with keys 1..n is an array, the empty table an empty
// object. Raises an error that opens with `what` for anything else, and for a table that holds itself.
Json json_at(lua_State* L, int index, const std::string& what);

void push_json(lua_State* L, const Json& document);

}  // namespace colonnade::host
