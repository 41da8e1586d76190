#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kernel/store/files.h"

namespace colonnade::host {

// How a process is started as somebody's child.
struct ChildCommand {
  std::filesystem::path executable;
  std::vector<std::string> arguments;  // without the program's name
  std::map<std::string, std::string>
      variables;              // of the numeric environment; inherited ones that could change bits are dropped
  std::filesystem::path log;  // takes its stdout and stderr; empty: nothing does
};

struct Child {
  pid_t pid = -1;
  FileDescriptor socket;  // non-blocking, closed on exec
};

// Starts the child by exec. It finds its end of the socket as `kChildSocket`, its stdin empty, and is killed by the
// system when the calling thread (the main one) ends. Error(environment) if there is no process to be had.
constexpr int kChildSocket = 3;
constexpr int kExecFailed = 127;  // exit code of a child whose executable could not be run
Child spawn(const ChildCommand& command);

}  // namespace colonnade::host
