#pragma once

#include <filesystem>

namespace colonnade::host {

// The files of a study.
struct StudyFiles {
  std::filesystem::path folder;    // absolute
  std::filesystem::path lua;       // absolute
  std::filesystem::path settings;  // study.toml beside it; may not exist
};

// `study` is a folder with study.lua, or a Lua file. Error(usage) naming what was looked for and the nearest name.
StudyFiles locate_study(const std::filesystem::path& study);

}  // namespace colonnade::host
