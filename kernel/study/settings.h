#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernel/study/study.h"

namespace colonnade::host {

// The settings that the host itself reads, checked and with their defaults.
struct HostSettings {
  int threads = 1;
  int workers = 1;
  std::string device = "cpu";
  std::string simd = "portable";
  int retries = 1;
  double checkpoint_seconds = 10;  // how often a long op saves its state
  double store_gigabytes = 100;    // what the store may hold before values are dropped; 0: no limit
  double drop_below_seconds = 60;  // only values that took no longer are dropped
  bool visualization = true;
  std::vector<std::uint64_t> seeds;            // empty: the study's own
  std::vector<std::filesystem::path> plugins;  // absolute
};
HostSettings host_settings(const Settings& settings);

// --set and profile keys that neither the file's top level nor the loaded study knows, and keys at the file's top level
// that nothing reads: Error(usage) with the nearest name. What stands in tables is the study's own affair.
void refuse_unknown_settings(const Settings& settings, const StudyDescription& description);

// True if a setting of this name holds a path: its last part is "path", "file" or "folder", or ends in one after "_".
bool names_a_path(const std::string& setting);

// The value under a dotted name, nullptr if there is none.
const Json* find_setting(const Json& values, const std::string& dotted);

// All leaves of nested settings by dotted name.
std::vector<std::string> setting_names(const Json& values);

}  // namespace colonnade::host
