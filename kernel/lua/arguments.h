#pragma once

#include <lua.hpp>
#include <string>

#include "kernel/lua/handles.h"

namespace colonnade::host {

// What stands in the table that an op is called with, one entry at a time.

// A node, a field, or for a role of many a list of them.
void read_input(lua_State* L, int index, const InputSpec& role, Application& application);

// A parameter's value as a document: recipes resolved, paths absolute and there, everything else as written. Its type
// and range are checked by check_param.
Json param_at(lua_State* L, int index, const Param& param, const OpSchema& schema);

// seed, stream, device, label. False if `name` is none of them, or one that this op does not have.
bool read_reserved(lua_State* L, int index, const std::string& name, Application& application);

[[noreturn]] void refuse_unknown_argument(lua_State* L, const OpSchema& schema, const std::string& name);

}  // namespace colonnade::host
