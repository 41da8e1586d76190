#include "kernel/evaluate/worker_link.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace colonnade::host {

namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 16;
constexpr double kMillisecondsPerSecond = 1000;

}  // namespace

WorkerLink::WorkerLink(int fd, double heartbeat_seconds)
    : fd_(fd), heartbeat_ms_(static_cast<int>(heartbeat_seconds * kMillisecondsPerSecond)) {
  // Signals belong to the main thread, whose handlers know the op that runs.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  listener_ = std::thread([this] { listen(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  listener_.detach();  // ends with the process
}

void WorkerLink::leave() {
  _exit(EXIT_SUCCESS);
}

Json WorkerLink::next_task() {
  std::unique_lock lock(task_mutex_);
  task_arrived_.wait(lock, [this] { return !tasks_.empty(); });
  Json task = std::move(tasks_.front());
  tasks_.pop_front();
  return task;
}

void WorkerLink::send(const Json& message) {
  const std::string frame = encode_frame(message);
  const std::lock_guard lock(send_mutex_);
  if (!send_all(fd_, frame)) leave();
}

void WorkerLink::receive(const Json& message) {
  if (message.at("type") == "cancel") {
    cancelled_ = true;
    return;
  }
  cancelled_ = false;
  busy_ = true;
  const std::lock_guard lock(task_mutex_);
  tasks_.push_back(message);
  task_arrived_.notify_one();
}

void WorkerLink::listen() {
  FrameReader reader;
  std::array<char, kReadBytes> bytes;
  while (true) {
    pollfd waiting = {fd_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, busy_ ? heartbeat_ms_ : -1);
    if (ready < 0 && errno != EINTR) leave();
    if (ready == 0) send({{"type", "heartbeat"}});
    if (ready <= 0) continue;
    const ssize_t count = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) leave();
    try {
      reader.feed({bytes.data(), static_cast<std::size_t>(count)});
      while (const auto message = reader.next()) receive(*message);
    } catch (const std::exception&) {
      leave();
    }
  }
}

}  // namespace colonnade::host
