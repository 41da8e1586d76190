#pragma once

#include <lua.hpp>

namespace colonnade::host {

// Pushes the module that `require "colonnade"` gives: the functions of the host (study, op, setting, values, fail,
// kind, figures, parts of the report), `seed`, and every op under its short name.
void push_op_module(lua_State* L);

}  // namespace colonnade::host
