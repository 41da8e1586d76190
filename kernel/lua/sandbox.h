#pragma once

#include <lua.hpp>

namespace colonnade::host {

// Fills an empty state with what scripts may use, and nothing else: the basic functions, math, string, table and utf8
// without whatever differs from process to process (addresses, clocks, the order of `pairs`, unseeded random numbers)
// or leads outside (files, processes, compiled code). Call it inside a protected call.
//
// Globals can be read only if they exist, with the nearest name in the message, and cannot be written.
void open_sandbox(lua_State* L);

// Adds the value on the top of the stack as a global, and pops it.
void add_global(lua_State* L, const char* name);

// Pushes the table that scripts see as their globals: the first upvalue of every chunk.
void push_globals(lua_State* L);

// Numbers of math.random may be drawn on the main thread only: coroutines would share them in an order that depends on
// which value came first.
void seed_math_random(lua_State* L);

// pairs, next and table.sort in an order of their own; see sorted.cpp.
int sorted_pairs(lua_State* L);
int sorted_next(lua_State* L);
int stable_sort(lua_State* L);

}  // namespace colonnade::host
