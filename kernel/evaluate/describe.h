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
// Says why a worker never came to life; `log` is what it wrote.
std::string describe_failed_start(const std::filesystem::path& executable, const WorkerEnd& end,
                                  const std::string& log);

// The lines below a message, each indented.
std::string indented(const std::string& lines);

}  // namespace colonnade::host
