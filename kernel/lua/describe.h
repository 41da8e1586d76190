#pragma once

#include <lua.hpp>
#include <string>
#include <vector>

#include "kernel/graph/node.h"

namespace colonnade::host {

// How messages speak of what a script handed in.

// "nil", "the number 3", "the string 'abc'", "a table", "the node train (study.lua:7)", "a recipe of OP, ...", ...
std::string described(lua_State* L, int index);
// "train (study.lua:7)".
std::string described(const Node& node);
// "text.train (study.lua:3)".
std::string described(const FieldRef& field);
// "train, valid (tokens), size (scalar)": a node's fields by type, in the op's order.
std::string listed_fields(const OpSchema& schema);
// "a, b, c", or "none".
std::string joined(const std::vector<std::string>& names);

// What a value is to a script, without anything that changes from process to process: a number as Lua writes it,
// "table", "node: train 3f2a1c".
std::string plain_text(lua_State* L, int index);

}  // namespace colonnade::host
