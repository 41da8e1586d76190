#pragma once

#include <string>

#include "kernel/store/store.h"

namespace colonnade::host {

// Exit codes of a worker that found out itself why it has to end.
enum class WorkerExit {
  wrote_to_input = 93,   // an op wrote into a read-only mapping of the store
  truncated_input = 94,  // a mapped blob lost its end while an op read it
};

// Tells accesses to the store's mappings from other faults: on SIGSEGV or SIGBUS at an address inside them the process
// writes one line to its log and ends with a code of WorkerExit; any other fault takes its usual course. For the main
// thread, once.
void install_fault_handler(const Store& store);

// The op that runs, for the log's line.
void name_running_op(const std::string& op);

}  // namespace colonnade::host
