#pragma once

#include <nlohmann/json.hpp>

namespace colonnade {

// A document: null, bool, int64/uint64, double, string, array, object with sorted keys, binary. Integers and reals are
// different (1 is not 1.0), as in the canonical encoding.
using Json = nlohmann::json;

}  // namespace colonnade
