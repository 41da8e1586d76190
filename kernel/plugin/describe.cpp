#include "kernel/plugin/describe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <thread>

#include "colonnade/error.h"
#include "kernel/plugin/host_files.h"
#include "kernel/store/files.h"

extern char** environ;

namespace colonnade::host {

namespace {

using Clock = std::chrono::steady_clock;

// Loading takes a second; from a cold disk, or beside work of a higher priority, more than half a minute was seen.
constexpr std::chrono::seconds time_limit{120};
constexpr int result_descriptor = 3;
constexpr std::size_t most_output = 64 << 20;
constexpr std::size_t kept_noise = 16 << 10;
constexpr std::size_t shown_lines = 5;

struct Pipe {
  FileDescriptor read, write;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw Error(ErrorKind::environment, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

// A describing process and what it has said so far.
struct Describer {
  DescribeJob* job;
  pid_t process = -1;
  FileDescriptor result, noise;
  std::string result_text, noise_text;
  Clock::time_point deadline;
  bool timed_out = false;
};

std::vector<std::string> arguments_for(const DescribeJob& job) {
  std::vector<std::string> arguments = {"colonnade", "describe-plugin", "--fd", std::to_string(result_descriptor)};
  for (const std::filesystem::path& required : job.required) {
    arguments.push_back("--load");
    arguments.push_back(required.string());
  }
  arguments.push_back(job.file.string());
  return arguments;
}

int spawn_with_pipes(const std::vector<std::string>& arguments, int result, int noise, pid_t& process) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, noise, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, noise, STDERR_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, result, result_descriptor);
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  const int error = ::posix_spawn(&process, host_executable().c_str(), &actions, &attributes, pointers.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return error;
}

Describer start(DescribeJob& job) {
  Pipe result = make_pipe(), noise = make_pipe();
  Describer describer;
  describer.job = &job;
  describer.deadline = Clock::now() + time_limit;
  const int error =
      spawn_with_pipes(arguments_for(job), result.write.number(), noise.write.number(), describer.process);
  if (error != 0) throw_file_error("start", host_executable(), error);
  describer.result = std::move(result.read);
  describer.noise = std::move(noise.read);
  return describer;
}

// Reads what is there; closes at the end.
void drain(FileDescriptor& descriptor, std::string& text, std::size_t limit) {
  char buffer[65536];
  const ssize_t count = ::read(descriptor.number(), buffer, sizeof(buffer));
  if (count < 0 && errno == EINTR) return;
  if (count <= 0) {
    descriptor = FileDescriptor();
    return;
  }
  text.append(buffer, static_cast<std::size_t>(count));
  if (text.size() > limit) text.erase(0, text.size() - limit);
}

std::string last_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    if (end > start) lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  if (lines.size() > shown_lines) lines.erase(lines.begin(), lines.end() - shown_lines);
  return fmt::format("{}", fmt::join(lines, "; "));
}

std::string signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  return name == nullptr ? fmt::format("signal {}", number) : fmt::format("SIG{}", name);
}

void settle(Describer& describer, int status) {
  DescribeJob& job = *describer.job;
  const std::string said = last_lines(describer.noise_text);
  const std::string ending = said.empty() ? "" : fmt::format("; its last lines: {}", said);
  if (describer.timed_out) {
    job.failure = fmt::format("loading it took more than {} s and was ended{}", time_limit.count(), ending);
    return;
  }
  if (WIFSIGNALED(status)) {
    job.failure = fmt::format("the process that loaded it died with {}{}", signal_name(WTERMSIG(status)), ending);
    return;
  }
  Json document = Json::parse(describer.result_text, nullptr, false);
  if (document.is_object() && document.contains("error") && document.at("error").is_string()) {
    job.failure = document.at("error").get<std::string>();
  } else if (document.is_object() && document.contains("ops") && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    job.description = std::move(document);
  } else {
    job.failure = fmt::format("the process that loaded it ended with exit code {} and no description{}",
                              WIFEXITED(status) ? WEXITSTATUS(status) : 0, ending);
  }
}

// True once the process is gone.
bool reap(Describer& describer) {
  int status = 0;
  const pid_t ended = ::waitpid(describer.process, &status, describer.result.is_open() ? WNOHANG : 0);
  if (ended == 0 || (ended < 0 && errno == EINTR)) return false;
  // What it said last may still lie in the pipe; nothing more can come but from children of its own, which are not
  // waited for.
  ::fcntl(describer.noise.number(), F_SETFL, O_NONBLOCK);
  while (describer.noise.is_open()) drain(describer.noise, describer.noise_text, kept_noise);
  settle(describer, status);
  return true;
}

void end_by_force(Describer& describer) {
  describer.timed_out = true;
  ::kill(describer.process, SIGKILL);
  describer.result = FileDescriptor();
}

// Waits until something is to be read or a deadline passes.
void wait_and_read(std::deque<Describer>& running) {
  std::vector<pollfd> polled;
  Clock::time_point next = Clock::now() + time_limit;
  for (Describer& describer : running) {
    polled.push_back({describer.result.number(), POLLIN, 0});
    polled.push_back({describer.noise.number(), POLLIN, 0});
    next = std::min(next, describer.deadline);
  }
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now()).count();
  ::poll(polled.data(), polled.size(), static_cast<int>(std::max<std::int64_t>(0, milliseconds) + 1));
  for (std::size_t i = 0; i < running.size(); ++i) {
    Describer& describer = running[i];
    if (polled[2 * i].revents != 0) drain(describer.result, describer.result_text, most_output);
    if (polled[2 * i + 1].revents != 0) drain(describer.noise, describer.noise_text, kept_noise);
    if (Clock::now() >= describer.deadline && !describer.timed_out) end_by_force(describer);
  }
}

}  // namespace

void run_describe_jobs(std::vector<DescribeJob>& jobs) {
  const std::size_t most = std::max(1u, std::thread::hardware_concurrency());
  std::deque<Describer> running;
  std::size_t next = 0;
  try {
    while (next < jobs.size() || !running.empty()) {
      while (next < jobs.size() && running.size() < most) running.push_back(start(jobs[next++]));
      wait_and_read(running);
      std::erase_if(running, [](Describer& describer) { return !describer.result.is_open() && reap(describer); });
    }
  } catch (...) {
    for (Describer& describer : running) {
      end_by_force(describer);
      ::waitpid(describer.process, nullptr, 0);
    }
    throw;
  }
}

}  // namespace colonnade::host
