#include "kernel/plugin/discovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "colonnade/error.h"
#include "kernel/plugin/host_files.h"

namespace colonnade::host {

namespace {

constexpr std::string_view suffix = ".plugin.so";

bool is_plugin_file(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  return name.size() > suffix.size() && name.ends_with(suffix) && name[0] != '.';
}

class Discovery {
 public:
  std::vector<PluginInfo> found;

  void add_file(const std::filesystem::path& file, const char* origin) {
    std::string name = file.filename().string();
    name.resize(name.size() - suffix.size());
    std::filesystem::path absolute = std::filesystem::absolute(file).lexically_normal();
    for (PluginInfo& plugin : found) {
      if (plugin.name != name) continue;
      std::error_code error;
      if (!std::filesystem::equivalent(plugin.file, absolute, error)) plugin.shadowed.push_back(absolute);
      return;
    }
    PluginInfo& plugin = found.emplace_back();
    plugin.name = name;
    plugin.file = std::move(absolute);
    plugin.origin = origin;
  }

  // False if it holds no plugin.
  bool add_folder(const std::filesystem::path& folder, const char* origin) {
    if (folder.empty()) return false;
    std::vector<std::filesystem::path> files;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (is_plugin_file(entry.path())) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const std::filesystem::path& file : files) add_file(file, origin);
    return !files.empty();
  }

  void add_explicit(const std::filesystem::path& path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) {
      if (add_folder(path, "explicit")) return;
      throw Error(ErrorKind::usage, fmt::format("plugin {}: no plugin file in this folder; a plugin's file is called "
                                                "NAME{}",
                                                path.string(), suffix));
    }
    if (!std::filesystem::exists(path, error)) {
      throw Error(ErrorKind::usage, fmt::format("plugin {}: there is no such file or folder", path.string()));
    }
    if (!is_plugin_file(path)) {
      throw Error(ErrorKind::usage, fmt::format("plugin {}: a plugin's file is called NAME{}", path.string(), suffix));
    }
    add_file(path, "explicit");
  }
};

}  // namespace

std::vector<std::filesystem::path> PluginPaths::user_folders() {
  std::vector<std::filesystem::path> folders;
  const char* listed = std::getenv("COLONNADE_PLUGIN_PATH");
  std::string_view rest = listed == nullptr ? "" : listed;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) folders.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home != '\0') folders.push_back(std::filesystem::path(home) / ".local/lib/colonnade");
  return folders;
}

std::filesystem::path PluginPaths::system_folder() {
  return (running_executable().parent_path().parent_path() / "lib" / "colonnade").lexically_normal();
}

std::vector<PluginInfo> discover_plugins(const PluginPaths& paths) {
  Discovery discovery;
  for (const std::filesystem::path& path : paths.explicit_files_or_folders) discovery.add_explicit(path);
  discovery.add_folder(paths.study, "study");
  discovery.add_folder(paths.project, "project");
  if (!paths.installed) return std::move(discovery.found);
  for (const std::filesystem::path& folder : PluginPaths::user_folders()) discovery.add_folder(folder, "user");
  discovery.add_folder(PluginPaths::system_folder(), "system");
  return std::move(discovery.found);
}

}  // namespace colonnade::host
