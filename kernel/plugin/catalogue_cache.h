#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "colonnade/hash.h"
#include "colonnade/json.h"
#include "kernel/plugin/stamp.h"
#include "kernel/store/files.h"

namespace colonnade::host {

Json to_json(const Stamp& stamp);
Stamp stamp_from_json(const Json& document);

// What is known of a plugin or library file from reading it.
struct FileFacts {
  FileIdentity identity;
  Hash binary;
  std::optional<Stamp> stamp;  // of plugins
};

// The one file that a warm start reads instead of opening plugins: facts by path while the file's identity holds,
// descriptions by a hash of all binaries they came from. Damaged or missing counts as empty; failing to write it is no
// error.
class CatalogueCache {
 public:
  explicit CatalogueCache(const std::filesystem::path& cache_folder);

  const FileFacts* facts(const std::filesystem::path& file, const FileIdentity& identity) const;
  void put_facts(const std::filesystem::path& file, const FileFacts& facts);
  const Json* description(const Hash& sources) const;
  void put_description(const Hash& sources, Json description);
  void save();

 private:
  void load();
  std::filesystem::path file_;
  std::map<std::string, FileFacts> facts_;
  std::map<std::string, Json> descriptions_;
  mutable std::set<std::string> used_;  // descriptions asked for by this process
  bool changed_ = false;
};

}  // namespace colonnade::host
