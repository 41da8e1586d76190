#pragma once

#include <string>

#include "colonnade/json.h"

namespace colonnade::host {

// The value of a Lua expression over an op's parameters, each a variable of its name: "steps * batch * context",
// "math.max(rank, 1) * #sites". Also known: math, and max, min, floor, ceil, sqrt, log, exp, abs of it. Throws
// Error(environment) naming the expression if it is wrong, endless or no number: a mistake of the op's schema.
double evaluate_expression(const std::string& lua_expression, const Json& params);

}  // namespace colonnade::host
