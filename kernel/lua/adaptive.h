#pragma once

#include <cstdint>
#include <lua.hpp>
#include <string>

#include "colonnade/json.h"

namespace colonnade::host {

// Adaptive arms: an arm that is a function runs as a coroutine for each seed, and may look at values.

// node:value() and field:value(): suspends the arm until the value is known. A scalar is its number, a record a table,
// a table its columns {name = {cells}}.
int await_value(lua_State* L);

// col.values { a, b, name = c }: waits for all of them at once and returns them under the same keys.
int await_values(lua_State* L);

// col.attempt { a, b, name = c }: the same, but where an op refuses what it was given (not where a worker died) it
// returns nil and what the op said, and the arm goes on.
int attempt_values(lua_State* L);

// Pushes the table that an arm's function is given: name, point, seed (a number), random(i) in [0, 1), random(i, n)
// in 1..n.
void push_trial(lua_State* L, const std::string& arm, const Json& point, std::uint64_t seed);

}  // namespace colonnade::host
