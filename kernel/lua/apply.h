#pragma once

#include <lua.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernel/lua/handles.h"

namespace colonnade::host {

// The field of `node` that stands for it where `type` is wanted: its first output if that fits, else the only one that
// does. nullptr if none or several do.
const OutputSpec* fitting_output(const OpSchema& schema, const std::string& type);

// Puts the table at `index` (input roles, parameters, seed, stream, device, label) into `application`, over what it
// has. Every value is checked; errors name the user's line.
void read_arguments(lua_State* L, int index, Application& application);

// Puts the node or field at `index` in as the first input.
void give_first_input(lua_State* L, int index, Application& application);

// Pushes a node if the first input is there (or the op needs none), else a recipe.
void push_applied(lua_State* L, Application application);

// Pushes the function of an op: (inputs and parameters), (first input, inputs and parameters) or ().
void push_op_function(lua_State* L, const OpSchema& schema);

// Pushes the op of that short name as a method of something whose outputs are `given` (a node's) or the one field's
// type. False if there is no op of that name.
bool push_method(lua_State* L, const std::string& name, const FieldRef& subject, bool whole_node);

// The recipe as a parameter of another op: {"op": id, "params": complete}.
Json recipe_document(lua_State* L, const Application& recipe, const Param& param, const OpSchema& receiver);

}  // namespace colonnade::host
