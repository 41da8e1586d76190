#include "kernel/evaluate/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "colonnade/error.h"

extern char** environ;

namespace colonnade::host {

namespace {

constexpr mode_t kLogMode = 0644;

// Variables that numeric libraries read: only the coordinator's values count, or the same key could give other bits.
constexpr std::array<std::string_view, 14> kNumericPrefixes = {
    "OMP_",  "GOMP_",   "KMP_",    "MKL_",   "OPENBLAS_",   "BLIS_",  "ATEN_",
    "DNNL_", "ONEDNN_", "CUBLAS_", "CUDNN_", "NVIDIA_TF32", "TORCH_", "COLONNADE_SIMD"};

bool is_numeric(std::string_view entry) {
  for (const std::string_view prefix : kNumericPrefixes) {
    if (entry.substr(0, prefix.size()) == prefix) return true;
  }
  return false;
}

std::vector<std::string> child_environment(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry; ++entry) {
    if (!is_numeric(*entry)) entries.emplace_back(*entry);
  }
  for (const auto& [name, value] : variables) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& string : strings) result.push_back(string.data());
  result.push_back(nullptr);
  return result;
}

// Between fork and exec only what is async-signal-safe: other threads of the coordinator may hold locks.
[[noreturn]] void become_child(const char* executable, char** arguments, char** variables, int socket, int log,
                               int null, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kExecFailed);  // the coordinator died before the request took effect
  const rlimit no_core = {0, 0};                // a core of many gigabytes would hold up the report of a crash
  setrlimit(RLIMIT_CORE, &no_core);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGPIPE, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (socket == kChildSocket) {
    fcntl(socket, F_SETFD, 0);
  } else {
    dup2(socket, kChildSocket);
  }
  execve(executable, arguments, variables);
  _exit(kExecFailed);
}

FileDescriptor open_or_throw(const std::filesystem::path& file, int flags) {
  FileDescriptor descriptor(::open(file.c_str(), flags | O_CLOEXEC, kLogMode));
  if (!descriptor.is_open()) throw_file_error("open", file, errno);
  return descriptor;
}

}  // namespace

Child spawn(const ChildCommand& command) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    throw Error(ErrorKind::environment, fmt::format("cannot make a socket for a worker: {}", std::strerror(errno)));
  }
  Child child;
  child.socket = FileDescriptor(pair[0]);
  const FileDescriptor child_end(pair[1]);
  ::fcntl(child.socket.number(), F_SETFL, O_NONBLOCK);
  const FileDescriptor null = open_or_throw("/dev/null", O_RDWR);
  FileDescriptor log;
  if (!command.log.empty()) log = open_or_throw(command.log, O_WRONLY | O_CREAT | O_APPEND);

  std::vector<std::string> arguments = {command.executable.string()};
  arguments.insert(arguments.end(), command.arguments.begin(), command.arguments.end());
  std::vector<std::string> variables = child_environment(command.variables);
  const std::vector<char*> argument_pointers = pointers(arguments), variable_pointers = pointers(variables);
  const pid_t parent = ::getpid();
  child.pid = ::fork();
  if (child.pid < 0) {
    throw Error(ErrorKind::environment, fmt::format("cannot start a worker process: {}", std::strerror(errno)));
  }
  if (child.pid == 0) {
    become_child(command.executable.c_str(), const_cast<char**>(argument_pointers.data()),
                 const_cast<char**>(variable_pointers.data()), child_end.number(),
                 log.is_open() ? log.number() : null.number(), null.number(), parent);
  }
  return child;
}

}  // namespace colonnade::host
