#pragma once

#include <string>
#include <string_view>

#include "colonnade/schema.h"

namespace colonnade {

// What a parameter's type is called in stored schemas, help and messages: "boolean", "integer", "sites", ...
std::string_view param_type_name(ParamType type);
ParamType param_type_from_name(const std::string& name);  // throws Error(environment)

}  // namespace colonnade
