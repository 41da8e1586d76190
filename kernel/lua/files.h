#pragma once

#include <lua.hpp>
#include <string>
#include <vector>

#include "kernel/study/study.h"

namespace colonnade::host {

// Turns a table {["name.npy"] = node or field} into files, sorted by name. `.npy` takes a tensor, `.csv` a table, a
// name without either a value of type files, which becomes a folder; a node stands for its only field of that type. `what` opens messages ("files", "files of arm 'all'").
std::vector<MetricRef> files_at(lua_State* L, int index, const std::string& what);

}  // namespace colonnade::host
