#pragma once

#include <string>
#include <vector>

#include "colonnade/schema.h"
#include "colonnade/text.h"

// How parameters and their values are spelled in messages.

namespace colonnade::detail {

// "a string", "an integer", ...
std::string kind_of(const Json& value);

// A bound: 1 rather than 1.0.
std::string shown_bound(double number);

// What a parameter of this type may be: "an integer of at least 1", "one of \"a\", \"b\"", "a list of numbers above 0".
std::string allowed_values(const Param& param);

// The parameter that every element of a list is checked against; `position` counts from 1, as in Lua.
Param element_param(const Param& list, std::size_t position);

// "a, b, c", or "none".
std::string listed(const std::vector<std::string>& names);

}  // namespace colonnade::detail
