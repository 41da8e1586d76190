#include "kernel/store/project.h"

#include "kernel/store/files.h"

namespace colonnade::host {

namespace {

std::filesystem::path absolute_folder(const std::filesystem::path& start) {
  std::error_code error;
  std::filesystem::path folder = std::filesystem::weakly_canonical(std::filesystem::absolute(start), error);
  if (error) folder = std::filesystem::absolute(start).lexically_normal();
  return folder;
}

}  // namespace

std::optional<Project> find_project(const std::filesystem::path& start) {
  std::filesystem::path folder = absolute_folder(start);
  while (true) {
    std::error_code error;
    if (std::filesystem::is_directory(folder / ".colonnade", error)) return Project{folder};
    if (!folder.has_relative_path()) return std::nullopt;
    folder = folder.parent_path();
  }
}

Project find_or_create_project(const std::filesystem::path& start) {
  if (std::optional<Project> project = find_project(start)) return *project;
  Project project{absolute_folder(start)};
  make_folder(project.root / ".colonnade");
  return project;
}

}  // namespace colonnade::host
