#include "kernel/study/prepare.h"

#include "kernel/study/device.h"
#include "kernel/study/kept_values.h"
#include "kernel/study/trials.h"

namespace colonnade::host {

PreparedStudy prepare_study(const StudyRequest& request, const Project& project) {
  PreparedStudy prepared;
  prepared.project = project;
  prepared.trust_versions = request.trust_versions;
  prepared.settings = load_settings(request.study, request.profile, request.overrides);
  prepared.host = host_settings(prepared.settings);
  if (request.workers) prepared.host.workers = *request.workers;

  PluginPaths paths;
  paths.explicit_files_or_folders = request.plugins;
  const auto& from_settings = prepared.host.plugins;
  paths.explicit_files_or_folders.insert(paths.explicit_files_or_folders.end(), from_settings.begin(),
                                         from_settings.end());
  prepared.plugins = paths.explicit_files_or_folders;
  paths.study = prepared.settings.study_folder / "plugins";
  paths.project = project.plugin_folder();
  prepared.catalogue = Catalogue::load(paths, project.cache_folder(), request.trust_versions);
  if (request.look_at_plugins) request.look_at_plugins(*prepared.catalogue);

  const CudaSupport cuda = find_cuda(*prepared.catalogue);
  prepared.host.device = resolve_device(prepared.host.device, prepared.settings.origin_text("device", ""), cuda);
  prepared.environment = numeric_environment(prepared.host.device, prepared.host.threads, prepared.host.simd);
  prepared.study = LoadedStudy::load(request.study, prepared.settings, *prepared.catalogue);
  check_devices(prepared.study->description(), cuda);
  refuse_unknown_settings(prepared.settings, prepared.study->description());
  prepared.seeds = seeds_of(prepared.study->description(), prepared.settings);
  return prepared;
}

StudyLock PreparedStudy::lock() const {
  return make_lock(
      {study->description(), settings, seeds, *catalogue, environment, project.cache_folder(), trust_versions});
}

EvaluatorOptions PreparedStudy::evaluator_options(const std::filesystem::path& log_folder) const {
  EvaluatorOptions options;
  options.workers = host.workers;
  options.environment = environment;
  options.trust_versions = trust_versions;
  options.retries = host.retries;
  options.checkpoint_seconds = host.checkpoint_seconds;
  constexpr double bytes_a_gigabyte = 1e9;
  options.quota.bytes = static_cast<std::uint64_t>(host.store_gigabytes * bytes_a_gigabyte);
  options.quota.most_seconds = host.drop_below_seconds;
  options.quota.kept_keys = [project = project] { return keys_to_keep(project); };
  options.log_folder = log_folder;
  options.cache_folder = project.cache_folder();
  return options;
}

}  // namespace colonnade::host
