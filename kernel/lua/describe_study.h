#pragma once

#include <lua.hpp>
#include <string>
#include <vector>

#include "kernel/study/study.h"

namespace colonnade::host {

struct StudyContext;

// col.study { name, question, seeds, arms, metrics, shared, files, figures, report }: fills the context's description.
int describe_study(lua_State* L);

// What an arm with the model on the top of the stack is measured by: what the metrics function says, or else the
// model's own scalar and table fields. Pops the model.
std::vector<MetricRef> metrics_of_model(lua_State* L, const std::string& arm, const Json& point);

// The files that the files function declares for an arm with the model on the top of the stack, which stays there.
std::vector<MetricRef> files_of_model(lua_State* L, const std::string& arm, const Json& point);

}  // namespace colonnade::host
