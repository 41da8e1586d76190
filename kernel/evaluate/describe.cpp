#include "kernel/evaluate/describe.h"

#include <fmt/format.h>

#include <csignal>

#include "kernel/evaluate/system.h"
#include "kernel/evaluate/worker_faults.h"

namespace colonnade::host {

std::string class_name(OpClass op_class) {
  switch (op_class) {
    case OpClass::bitwise:
      return "bitwise";
    case OpClass::tolerant:
      return "tolerant";
    case OpClass::stochastic:
      return "stochastic";
    case OpClass::measured:
      return "measured";
  }
  return "";
}

std::string indented(const std::string& lines) {
  std::string result = "\n  ";
  for (const char c : lines) result += c == '\n' ? std::string("\n  ") : std::string(1, c);
  return result;
}

std::string describe_end(const OpSchema& schema, const WorkerEnd& end, bool& own_doing) {
  const std::string op = fmt::format("op {} of plugin {}", schema.id(), schema.plugin);
  if (end.by_signal && end.code == SIGKILL) {
    return op + " died with SIGKILL (somebody ended it, or the system did for want of memory)";
  }
  if (end.by_signal) return fmt::format("{} died with {}", op, signal_name(end.code));
  if (end.code == static_cast<int>(WorkerExit::wrote_to_input)) {
    own_doing = true;
    return op + " wrote to its input";
  }
  if (end.code == static_cast<int>(WorkerExit::truncated_input))
    return op + " read an input whose stored file was cut off";
  return fmt::format("{} ended its worker with exit code {}", op, end.code);
}

std::string describe_failed_start(const std::filesystem::path& executable, const WorkerEnd& end,
                                  const std::string& log) {
  if (end.code == kExecFailed) return fmt::format("cannot start a worker: {} cannot be executed", executable.string());
  return fmt::format("cannot start a worker: it ended with exit code {}{}", end.code,
                     log.empty() ? "" : ":" + indented(log));
}

}  // namespace colonnade::host
