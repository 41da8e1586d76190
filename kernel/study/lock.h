#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "kernel/graph/keys.h"
#include "kernel/plugin/catalogue.h"
#include "kernel/study/study.h"

namespace colonnade::host {

// What determines a run's results, and nothing else: sources with their text, the graph with its parameters, seeds,
// settings asked for, code of the plugins reached, LibTorch, numeric environment. Contents stand in place of paths. No
// dates, hosts, workers, or profile names: two ways to ask for the same results are the same run.
struct StudyLock {
  Json document;
  std::string id;  // names the run: first digits of the hash of the document's canonical encoding
};

struct LockInputs {
  const StudyDescription& description;
  const Settings& settings;
  std::vector<std::uint64_t> seeds;
  const Catalogue& catalogue;
  const NumericEnvironment& environment;
  std::filesystem::path cache_folder;
  bool trust_versions = false;
};
StudyLock make_lock(const LockInputs& inputs);

std::string lock_id(const Json& document);
std::string lock_text(const Json& document);  // of lock.json

// Error(environment) naming the file if it is absent, damaged, or not the lock that `id` names.
Json read_lock(const std::filesystem::path& file, const std::string& id);
// The same of a folder whose name says no id any more: its sources have to be what their hashes say.
Json read_lock_of_renamed(const std::filesystem::path& file);

// The numeric environment that a run's lock names.
NumericEnvironment recorded_environment(const Json& lock);

// The name of a study's source in its lock and its run: relative to the study's folder, or "scripts/NAME" from
// elsewhere.
std::string source_name(const std::filesystem::path& source, const std::filesystem::path& study_folder);

// The plugins that ops of these nodes come from, those named by recipes too.
std::set<std::string> plugins_of(const std::vector<NodeRef>& nodes, const KeySources& sources);

// All nodes that a study names, inputs before users; those of adaptive arms are not known yet.
std::vector<NodeRef> template_nodes(const StudyDescription& description);

}  // namespace colonnade::host
