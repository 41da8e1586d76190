#pragma once

#include <lua.hpp>
#include <string>
#include <vector>

#include "kernel/study/study.h"

namespace colonnade::host {

// Turns a table of named nodes and fields into metrics, sorted by name. A field is one metric; a node is all of its
// scalars, tables and records: the only scalar (or else the only one of them at all) under the metric's name, the
// others as "name.field". `what` opens messages ("metrics", "shared").
std::vector<MetricRef> metrics_at(lua_State* L, int index, const std::string& what);

// The scalars, tables and records of a node, by the names of its fields.
std::vector<MetricRef> own_metrics(const FieldRef& output, bool whole_node);

}  // namespace colonnade::host
