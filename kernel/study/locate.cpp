#include "kernel/study/locate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <vector>

#include "colonnade/error.h"
#include "kernel/study/hints.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

constexpr const char* study_file = "study.lua";
constexpr const char* settings_file = "study.toml";

// What else lies where the study was looked for: folders with a study.lua, and Lua files.
std::vector<std::string> neighbours(const fs::path& study) {
  std::vector<std::string> names;
  std::error_code error;
  const fs::path parent = study.has_parent_path() ? study.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    const bool is_study = entry.path().extension() == ".lua" || fs::exists(entry.path() / study_file, error);
    if (is_study) names.push_back((study.parent_path() / entry.path().filename()).string());
  }
  return names;
}

// "; these below have one: a, b", or nothing.
std::string studies_within(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (fs::is_regular_file(entry.path() / study_file, error)) names.push_back(entry.path().string());
  }
  std::sort(names.begin(), names.end());
  return names.empty() ? "" : fmt::format("; these have one: {}", fmt::join(names, ", "));
}

}  // namespace

StudyFiles locate_study(const fs::path& study) {
  std::error_code error;
  const auto status = fs::status(study, error);
  if (!fs::exists(status)) {
    throw Error(ErrorKind::usage,
                fmt::format("{}: no such study{}", study.string(),
                            then(did_you_mean(study.string(), neighbours(study)),
                                 fmt::format("a study is a folder with {} or a Lua file", study_file))));
  }
  StudyFiles files;
  files.lua = fs::is_directory(status) ? study / study_file : study;
  if (!fs::is_regular_file(files.lua, error)) {
    throw Error(ErrorKind::usage,
                fmt::format("{}: no {} in this folder{}", study.string(), study_file, studies_within(study)));
  }
  files.lua = fs::canonical(files.lua);
  files.folder = files.lua.parent_path();
  files.settings = files.folder / settings_file;
  return files;
}

}  // namespace colonnade::host
