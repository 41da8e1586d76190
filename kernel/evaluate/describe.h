#pragma once

#include <string>

#include "colonnade/schema.h"
#include "kernel/evaluate/worker_pool.h"

namespace colonnade::host {

// "bitwise", ..., as traces say it.
std::string class_name(OpClass op_class);

// Says what ended a worker: "op good/crash of plugin good died with SIGSEGV". `own_doing` becomes true where evaluating
// again cannot help.
std::string describe_end(const OpSchema& schema, const WorkerEnd& end, bool& own_doing);
// True if the worker's executable could not be run at all.
bool could_not_start(const WorkerEnd& end);

// The lines below a message, each indented.
std::string indented(const std::string& lines);

}  // namespace colonnade::host
