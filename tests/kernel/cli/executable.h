#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace colonnade::host {

// What a command printed and how it ended.
struct CommandResult {
  int exit_code = -1;
  std::string out, err;
};

// Runs the built executable in `folder` with the fixture plugins in reach and without colours or a terminal.
CommandResult run_executable(const std::vector<std::string>& arguments, const std::filesystem::path& folder);

}  // namespace colonnade::host
