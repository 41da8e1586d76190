#include "kernel/evaluate/system.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>

#include "colonnade/hash.h"
#include "kernel/graph/keys.h"

namespace colonnade::host {

namespace {

constexpr std::uint64_t kKibibyte = 1024;
constexpr double kUnitStep = 1024;
constexpr double kMinute = 60, kHour = 3600;

// The value of a line such as "VmHWM:   1234 kB", in bytes.
std::uint64_t status_field(const std::string& file, const std::string& name) {
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    if (line.compare(0, name.size(), name) != 0 || line.size() <= name.size() || line[name.size()] != ':') continue;
    return std::strtoull(line.c_str() + name.size() + 1, nullptr, 10) * kKibibyte;
  }
  return 0;
}

std::string first_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::uint64_t group_limit() {
  for (const char* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const std::uint64_t limit = std::strtoull(first_line(file).c_str(), nullptr, 10);  // "max" reads as 0
    if (limit > 0) return limit;
  }
  return 0;
}

}  // namespace

std::uint64_t machine_memory() {
  const std::uint64_t total = status_field("/proc/meminfo", "MemTotal");
  const std::uint64_t limit = group_limit();
  return limit > 0 && (total == 0 || limit < total) ? limit : total;
}

std::uint64_t own_memory(pid_t process) {
  const std::string file = fmt::format("/proc/{}/status", process);
  return status_field(file, "RssAnon") + status_field(file, "RssShmem");
}

std::uint64_t peak_memory() {
  const std::uint64_t peak = status_field("/proc/self/status", "VmHWM");
  if (peak > 0) return peak;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * kKibibyte;
}

void reset_peak_memory() {
  constexpr char kResetPeak[] = "5";
  std::ofstream("/proc/self/clear_refs") << kResetPeak;
}

std::string machine_identity() {
  const double gibibytes =
      static_cast<double>(status_field("/proc/meminfo", "MemTotal")) / (kUnitStep * kUnitStep * kUnitStep);
  std::string identity = fmt::format("{}, {} cores, {:.0f} GiB", cpu_model(), sysconf(_SC_NPROCESSORS_CONF), gibibytes);
  const std::string installation = first_line("/etc/machine-id");
  if (!installation.empty()) identity += ", " + hash_bytes(installation).short_hex();
  return identity;
}

std::string cuda_card() {
  std::error_code error;
  std::set<std::filesystem::path> cards;
  for (const auto& card : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", error)) cards.insert(card);
  if (cards.empty()) return "unknown card";
  std::ifstream information(*cards.begin() / "information");
  constexpr std::string_view label = "Model:";
  for (std::string line; std::getline(information, line);) {
    if (!line.starts_with(label)) continue;
    const std::size_t start = line.find_first_not_of(" \t", label.size());
    if (start != std::string::npos) return line.substr(start);
  }
  return "unknown card";
}

double monotonic_seconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

std::string human_bytes(double bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= kUnitStep && unit + 1 < kUnits.size()) {
    bytes /= kUnitStep;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} bytes", bytes) : fmt::format("{:.3g} {}", bytes, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < kMinute) return fmt::format("{:.3g} s", seconds);
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  const auto minute = static_cast<std::int64_t>(kMinute), hour = static_cast<std::int64_t>(kHour);
  if (whole < hour) return fmt::format("{} min {} s", whole / minute, whole % minute);
  return fmt::format("{} h {} min", whole / hour, whole % hour / minute);
}

}  // namespace colonnade::host
