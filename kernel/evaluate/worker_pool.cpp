#include "kernel/evaluate/worker_pool.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "colonnade/error.h"

namespace colonnade::host {

namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 16;
constexpr std::size_t kLogTailBytes = 4096;
constexpr std::size_t kLogTailLines = 10;
constexpr int kPatienceSteps = 100;  // how long a process that closed its socket may take to end
constexpr long kPatienceStepNs = 5'000'000;

void pause() {
  const timespec step = {0, kPatienceStepNs};
  nanosleep(&step, nullptr);
}

// Waits for a process that should be ending, and sees to it that it does.
WorkerEnd wait_for(pid_t pid) {
  int status = 0;
  for (int step = 0;; ++step) {
    const pid_t ended = waitpid(pid, &status, step < kPatienceSteps ? WNOHANG : 0);
    if (ended == pid) break;
    if (ended < 0 && errno != EINTR) return {};
    if (step + 1 == kPatienceSteps) ::kill(pid, SIGKILL);
    pause();
  }
  if (WIFSIGNALED(status)) return {true, WTERMSIG(status)};
  return {false, WEXITSTATUS(status)};
}

std::uintmax_t size_of(const std::filesystem::path& file) {
  std::error_code ignored;
  const std::uintmax_t size = std::filesystem::file_size(file, ignored);
  return ignored ? 0 : size;
}

}  // namespace

WorkerPool::WorkerPool(ChildCommand command, std::filesystem::path log_folder)
    : command_(std::move(command)), log_folder_(std::move(log_folder)) {}

void WorkerPool::end_all() {
  for (WorkerProcess& worker : workers_) {
    worker.socket.close();  // an idle worker ends by itself; a busy one is not waited for
    if (!worker.idle) ::kill(worker.pid, SIGKILL);
    retired_.push_back(worker.pid);
  }
  for (const pid_t pid : retired_) wait_for(pid);
  workers_.clear();
  retired_.clear();
}

WorkerProcess& WorkerPool::start() {
  const int id = ++started_;
  ChildCommand command = command_;
  if (!log_folder_.empty()) {
    make_folder(log_folder_);
    command.log = log_folder_ / fmt::format("worker-{}.log", id);
  }
  Child child = spawn(command);
  WorkerProcess& worker = workers_.emplace_back();
  worker.id = id;
  worker.pid = child.pid;
  worker.socket = std::move(child.socket);
  worker.log = command.log;
  return worker;
}

void WorkerPool::send(WorkerProcess& worker, const Json& message) {
  worker.outgoing += encode_frame(message);
  flush(worker);
}

void WorkerPool::flush(WorkerProcess& worker) {
  std::string_view rest = worker.outgoing;
  while (!rest.empty()) {
    const ssize_t sent = ::send(worker.socket.number(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) break;  // full: `poll` goes on; gone: `poll` notices
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  worker.outgoing.erase(0, worker.outgoing.size() - rest.size());
}

void WorkerPool::poll(int timeout_ms, int wake_fd, const Handlers& handlers) {
  reap_retired();
  std::vector<pollfd> waiting = {{wake_fd, POLLIN, 0}};
  std::vector<Position> watched;
  for (Position worker = workers_.begin(); worker != workers_.end(); ++worker) {
    const int events = worker->outgoing.empty() ? POLLIN : POLLIN | POLLOUT;
    waiting.push_back({worker->socket.number(), static_cast<short>(events), 0});
    watched.push_back(worker);
  }
  if (::poll(waiting.data(), waiting.size(), timeout_ms) <= 0) return;
  for (std::size_t i = 0; i < watched.size(); ++i) {
    const short events = waiting[i + 1].revents;
    if (events & POLLOUT) flush(*watched[i]);
    if (!(events & (POLLIN | POLLHUP | POLLERR))) continue;
    bool ended = false;
    receive(*watched[i], handlers, ended);
    if (ended) end(watched[i], handlers);
  }
}

std::optional<Json> WorkerPool::next_message(WorkerProcess& worker) {
  try {
    return worker.reader.next();
  } catch (const Error& error) {
    worker.reader = {};
    if (worker.killed_because.empty()) kill(worker, error.what());
    return std::nullopt;
  }
}

void WorkerPool::receive(WorkerProcess& worker, const Handlers& handlers, bool& ended) {
  std::array<char, kReadBytes> bytes;
  while (true) {
    const ssize_t count = ::recv(worker.socket.number(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (count <= 0) {
      ended = true;
      break;
    }
    worker.reader.feed({bytes.data(), static_cast<std::size_t>(count)});
  }
  while (const auto message = next_message(worker)) handlers.on_message(worker, *message);
}

void WorkerPool::end(Position worker, const Handlers& handlers) {
  WorkerProcess gone = std::move(*worker);
  workers_.erase(worker);
  gone.socket.close();
  handlers.on_end(gone, wait_for(gone.pid));
}

void WorkerPool::kill(WorkerProcess& worker, const std::string& because) {
  worker.killed_because = because;
  ::kill(worker.pid, SIGKILL);
}

void WorkerPool::reap_retired() {
  for (Position worker = workers_.begin(); worker != workers_.end();) {
    if (worker->retired) retired_.push_back(worker->pid);
    worker = worker->retired ? workers_.erase(worker) : std::next(worker);  // closes the socket, which ends the process
  }
  retired_.erase(std::remove_if(retired_.begin(), retired_.end(),
                                [](pid_t pid) {
                                  int status = 0;
                                  return waitpid(pid, &status, WNOHANG) != 0;
                                }),
                 retired_.end());
}

void begin_log(WorkerProcess& worker) {
  worker.log_start = size_of(worker.log);
}

std::string last_log_lines(const WorkerProcess& worker) {
  const std::uintmax_t size = size_of(worker.log);
  if (size <= worker.log_start) return "";
  const std::uintmax_t start = std::max(worker.log_start, size > kLogTailBytes ? size - kLogTailBytes : 0);
  std::ifstream log(worker.log, std::ios::binary);
  log.seekg(static_cast<std::streamoff>(start));
  std::vector<std::string> lines;
  for (std::string line; std::getline(log, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  if (lines.size() > kLogTailLines) lines.erase(lines.begin(), lines.end() - kLogTailLines);
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

}  // namespace colonnade::host
