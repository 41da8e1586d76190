#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernel/plugin/catalogue.h"
#include "kernel/store/project.h"
#include "kernel/study/prepare.h"
#include "kernel/study/record.h"

namespace colonnade::host {

// A project, and the temporary folder that it is if there was none.
struct FoundProject {
  Project project;
  std::shared_ptr<const void> temporary;  // removed with the last copy
};

// Options that several commands share. They outlive parsing because the actions hold them.
struct CommonOptions {
  std::string project;
  bool json = false;
  std::vector<std::string> plugins;

  void declare_project(CLI::App& command);
  void declare_json(CLI::App& command);
  void declare_plugins(CLI::App& command);

  Project find_or_create() const;  // from --project, else the working folder upwards
  Project find() const;            // Error(usage) where there is none
  // Of a run that may be given as a folder: where no project is around, the one that the folder lies in, or else an
  // empty one that goes with the object.
  FoundProject find_for_run(const std::string& run) const;
  // For commands that do not need a project: caches lie in the user's folder where there is none.
  std::unique_ptr<Catalogue> catalogue() const;
};

struct StudyOptions : CommonOptions {
  std::string study;
  std::string profile;
  std::vector<std::string> overrides;
  int workers = 0;
  bool trust_versions = false;

  void declare_study(CLI::App& command);
  PreparedStudy prepare(const Project& in_project) const;
};

// To stderr: plugins that were asked for by path and cannot be used, with the reason.
void tell_disabled(const Catalogue& catalogue);

// The catalogue that a run's plugins are found in: those that it was given, as far as they are still there, after
// `plugins`.
std::unique_ptr<Catalogue> catalogue_for(const Project& project, const RunRecord& run,
                                         const std::vector<std::string>& plugins);

}  // namespace colonnade::host
