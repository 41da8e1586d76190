#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "colonnade/json.h"

namespace colonnade::host {

// One plugin to describe in a process of its own.
struct DescribeJob {
  std::filesystem::path file;
  std::vector<std::filesystem::path> required;  // loaded before it
  Json description;                             // as describe_loaded_plugin gives it
  std::string failure;                          // why there is none
};

// Runs all jobs as `colonnade describe-plugin` processes, several at a time; none is left when it returns.
void run_describe_jobs(std::vector<DescribeJob>& jobs);

}  // namespace colonnade::host
