#pragma once

#include <string>
#include <string_view>

#include "colonnade/json.h"

namespace colonnade {

// Reads JSON that somebody else wrote. `where` opens messages: the file's name. Throws Error(input), with the line where
// that can be said, on what is no JSON, on a name that an object has twice, and on arrays and objects nested more than
// `deepest` levels, which would exhaust the stack of whoever walks through them.
Json parse_json(std::string_view text, const std::string& where, int deepest = 64);

}  // namespace colonnade
