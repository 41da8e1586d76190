#include "kernel/evaluate/worker_faults.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace colonnade::host {

namespace {

// What the handler may touch: plain memory, set before an op starts.
constexpr std::size_t kMaxOpName = 256;
constexpr std::size_t kHandlerStackBytes = std::size_t{1} << 16;
const Store* watched_store = nullptr;
char running_op[kMaxOpName] = "";

void write_text(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

[[noreturn]] void end_with(WorkerExit code, const char* what) {
  write_text("op ");
  write_text(running_op);
  write_text(what);
  _exit(static_cast<int>(code));
}

void handle_fault(int signal, siginfo_t* info, void*) {
  if (watched_store && watched_store->is_mapped(info->si_addr)) {
    if (signal == SIGBUS) end_with(WorkerExit::truncated_input, " read an input whose stored file was cut off\n");
    end_with(WorkerExit::wrote_to_input, " wrote to its input\n");
  }
  // Any other fault ends the process the usual way, also a signal that somebody sent: on return, as it is blocked here.
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  sigaction(signal, &usual, nullptr);
  ::raise(signal);
}

}  // namespace

void install_fault_handler(const Store& store) {
  watched_store = &store;
  static std::vector<std::byte> stack(kHandlerStackBytes);  // also for faults of a stack that overflowed
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_sigaction = handle_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

void name_running_op(const std::string& op) {
  const std::size_t size = std::min(op.size(), kMaxOpName - 1);
  std::memcpy(running_op, op.data(), size);
  running_op[size] = '\0';
}

}  // namespace colonnade::host
