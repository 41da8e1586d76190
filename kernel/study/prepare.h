#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/evaluate/evaluator.h"
#include "kernel/plugin/catalogue.h"
#include "kernel/store/project.h"
#include "kernel/study/lock.h"
#include "kernel/study/run_folder.h"
#include "kernel/study/settings.h"
#include "kernel/study/study.h"

namespace colonnade::host {

// What the command line says of a study.
struct StudyRequest {
  std::filesystem::path study;
  std::string profile;
  std::vector<std::string> overrides;          // NAME=VALUE
  std::vector<std::filesystem::path> plugins;  // explicit plugin files or folders
  std::optional<int> workers;
  bool trust_versions = false;
  std::function<void(const Catalogue&)> look_at_plugins;  // before the study is read; may be empty
};

// A study ready to be planned or run. Nothing has been evaluated.
struct PreparedStudy {
  Project project;
  Settings settings;
  HostSettings host;
  std::unique_ptr<Catalogue> catalogue;
  std::unique_ptr<LoadedStudy> study;
  NumericEnvironment environment;
  std::vector<std::uint64_t> seeds;
  std::vector<std::filesystem::path> plugins;  // explicit ones, of the command line and the settings
  bool trust_versions = false;

  StudyLock lock() const;
  EvaluatorOptions evaluator_options(const std::filesystem::path& log_folder) const;
};
PreparedStudy prepare_study(const StudyRequest& request, const Project& project);

}  // namespace colonnade::host
