#include "kernel/cli/options.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>

#include "colonnade/error.h"
#include "kernel/cli/output.h"
#include "kernel/store/files.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

fs::path user_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) return fs::path(cache) / "colonnade";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "colonnade";
  return fs::temp_directory_path() / "colonnade-cache";
}

fs::path project_start(const std::string& option) {
  if (option.empty()) return fs::current_path();
  std::error_code error;
  if (fs::is_directory(option, error)) return option;
  throw Error(ErrorKind::usage,
              fmt::format("--project {}: there is no such folder; 'mkdir -p {}' makes it", option, option));
}

fs::path temporary_folder() {
  std::string name = (fs::temp_directory_path() / "colonnade-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw_file_error("make", name, errno);
  return name;
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
  return find_or_create_project(project_start(project));
}

FoundProject CommonOptions::find_for_run(const std::string& run) const {
  std::error_code error;
  const bool is_folder = fs::exists(fs::path(run) / "lock.json", error);
  if (!is_folder || find_project(project_start(project))) return {find(), nullptr};
  if (auto around = find_project(run)) return {*around, nullptr};
  const auto folder = std::shared_ptr<const fs::path>(new fs::path(temporary_folder()), [](const fs::path* made) {
    std::error_code ignored;
    fs::remove_all(*made, ignored);
    delete made;
  });
  return {find_or_create_project(*folder), folder};
}

Project CommonOptions::find() const {
  const fs::path start = project_start(project);
  if (auto found = find_project(start)) return *found;
  throw Error(ErrorKind::usage,
              fmt::format("{}: no project here or above (no folder .colonnade); 'colonnade run STUDY' makes one",
                          start.string()));
}

std::unique_ptr<Catalogue> CommonOptions::catalogue() const {
  const auto found = find_project(project_start(project));
  PluginPaths paths;
  paths.explicit_files_or_folders.assign(plugins.begin(), plugins.end());
  if (found) paths.project = found->plugin_folder();
  auto loaded = Catalogue::load(paths, found ? found->cache_folder() : user_cache_folder());
  tell_disabled(*loaded);
  return loaded;
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
  request.look_at_plugins = tell_disabled;
  return prepare_study(request, in_project);
}

void tell_disabled(const Catalogue& catalogue) {
  for (const PluginInfo& plugin : catalogue.plugins()) {
    if (plugin.origin != "explicit" || plugin.disabled.empty()) continue;
    say_error("colonnade: plugin {} ({}) is disabled: {}\n", plugin.name, plugin.file.string(),
              plugin.disabled.substr(0, plugin.disabled.find('\n')));
  }
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
  auto loaded = Catalogue::load(paths, project.cache_folder(), run.lock.value("trust_versions", false));
  tell_disabled(*loaded);
  return loaded;
}

}  // namespace colonnade::host
