#pragma once

#include <filesystem>
#include <optional>

namespace colonnade::host {

// A project: the folder that has `.colonnade`, where values, caches and runs of everything below it lie.
struct Project {
  std::filesystem::path root;  // absolute

  std::filesystem::path store_folder() const { return root / ".colonnade" / "store"; }
  std::filesystem::path cache_folder() const { return root / ".colonnade" / "cache"; }
  std::filesystem::path plugin_folder() const { return root / "plugins"; }
  std::filesystem::path runs_folder() const { return root / "runs"; }
};

// The nearest folder from `start` upwards that has `.colonnade`. Creates nothing.
std::optional<Project> find_project(const std::filesystem::path& start);

// The same; where there is none, `start` becomes one. Throws Error(environment) if it cannot be created.
Project find_or_create_project(const std::filesystem::path& start);

}  // namespace colonnade::host
