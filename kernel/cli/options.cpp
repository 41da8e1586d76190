#include "kernel/cli/options.h"

#include <fmt/format.h>

#include <cstdlib>

#include "colonnade/error.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

fs::path user_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) return fs::path(cache) / "colonnade";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "colonnade";
  return fs::temp_directory_path() / "colonnade-cache";
}

}  // namespace

void CommonOptions::declare_project(CLI::App& command) {
  command.add_option("--project", project,
                     "The project's folder (default: the nearest one upwards that has .colonnade)");
}

void CommonOptions::declare_json(CLI::App& command) {
  command.add_flag("--json", json, "Print JSON for programs");
}

void CommonOptions::declare_plugins(CLI::App& command) {
  command
      .add_option("--plugin", plugins, "A plugin file, or a folder of them, that goes before all others (repeatable)")
      ->expected(1)
      ->take_all();
}

Project CommonOptions::find_or_create() const {
  return find_or_create_project(project.empty() ? fs::current_path() : fs::path(project));
}

Project CommonOptions::find() const {
  const fs::path start = project.empty() ? fs::current_path() : fs::path(project);
  if (auto found = find_project(start)) return *found;
  throw Error(ErrorKind::usage,
              fmt::format("{}: no project here or above (no folder .colonnade); 'colonnade run STUDY' makes one",
                          start.string()));
}

std::unique_ptr<Catalogue> CommonOptions::catalogue() const {
  const auto found = find_project(project.empty() ? fs::current_path() : fs::path(project));
  PluginPaths paths;
  paths.explicit_files_or_folders.assign(plugins.begin(), plugins.end());
  if (found) paths.project = found->plugin_folder();
  return Catalogue::load(paths, found ? found->cache_folder() : user_cache_folder());
}

void StudyOptions::declare_study(CLI::App& command) {
  command.add_option("study", study, "A folder with study.lua, or a Lua file")->required();
  command.add_option("--profile", profile, "A profile of study.toml");
  command.add_option("--set", overrides, "NAME=VALUE: a setting in place of study.toml's (repeatable)")
      ->expected(1)
      ->take_all();
  command.add_option("--workers", workers, "Processes that evaluate (default: one a core)")->check(CLI::Range(1, 1024));
  command.add_flag("--trust-versions", trust_versions,
                   "For plugin development: declared versions stand for plugins' code; the lock says so");
  declare_plugins(command);
  declare_project(command);
  declare_json(command);
}

PreparedStudy StudyOptions::prepare(const Project& in_project) const {
  StudyRequest request;
  request.study = study;
  request.profile = profile;
  request.overrides = overrides;
  for (const std::string& plugin : plugins) request.plugins.push_back(fs::absolute(plugin));
  if (workers > 0) request.workers = workers;
  request.trust_versions = trust_versions;
  return prepare_study(request, in_project);
}

std::unique_ptr<Catalogue> catalogue_for(const Project& project, const RunRecord& run,
                                         const std::vector<std::string>& plugins) {
  PluginPaths paths;
  for (const std::string& plugin : plugins) paths.explicit_files_or_folders.push_back(fs::absolute(plugin));
  std::error_code error;
  for (const fs::path& plugin : run.history.plugins) {
    if (fs::exists(plugin, error)) paths.explicit_files_or_folders.push_back(plugin);
  }
  if (!run.history.study_folder.empty()) paths.study = run.history.study_folder / "plugins";
  paths.project = project.plugin_folder();
  return Catalogue::load(paths, project.cache_folder(), run.lock.value("trust_versions", false));
}

}  // namespace colonnade::host
