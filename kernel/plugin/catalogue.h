#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "colonnade/hash.h"
#include "colonnade/schema.h"
#include "kernel/plugin/stamp.h"

namespace colonnade::host {

inline constexpr const char* cpu_device = "cpu";
inline constexpr const char* cuda_device = "cuda";

// One plugin file that was found.
struct PluginInfo {
  std::string name;
  std::filesystem::path file;
  std::string origin;  // "explicit", "study", "project", "user", "system"
  Stamp stamp;
  Hash binary;                   // SHA-256 of the file, cached by inode, size and times
  std::vector<OpSchema> ops;     // empty if disabled
  std::map<std::string, std::vector<std::string>> provides;  // kind -> ids
  std::string disabled;          // why, "" if it works
  std::vector<std::filesystem::path> shadowed;  // further files of the same name, that lost
};

struct PluginPaths {
  std::vector<std::filesystem::path> explicit_files_or_folders;  // --plugin, study.toml
  std::filesystem::path study, project;                          // their plugins/ folders; may be empty
  bool installed = true;                                         // look in the user's and the system's folders too
  static std::vector<std::filesystem::path> user_folders();      // COLONNADE_PLUGIN_PATH, ~/.local/lib/colonnade
  static std::filesystem::path system_folder();                  // beside the executable: ../lib/colonnade
};

// All plugins and ops a run can use. Finding reads stamps only; the description of a plugin's ops comes from a cache under the
// binary's hash, or else from a process of its own (`colonnade describe-plugin FILE`), so that a plugin that dies
// while it loads takes nothing with it. The catalogue owns every schema that nodes point to.
class Catalogue {
 public:
  static std::unique_ptr<Catalogue> load(const PluginPaths& paths, const std::filesystem::path& cache_folder,
                                         bool trust_versions = false);
  virtual ~Catalogue() = default;

  virtual const std::vector<PluginInfo>& plugins() const = 0;  // disabled ones too, sorted by name
  virtual const PluginInfo* find_plugin(const std::string& name) const = 0;
  virtual std::vector<const OpSchema*> ops() const = 0;  // of enabled plugins, sorted by id
  virtual const OpSchema* find_op(const std::string& id) const = 0;  // "plugin/op"
  // The ops of this short name: none, one, or several (ambiguous).
  virtual std::vector<const OpSchema*> find_short(const std::string& name) const = 0;
  // Full id or unique short name. Otherwise Error(usage): unknown with the nearest name, ambiguous naming both, or from a
  // disabled plugin with the reason. `where` opens the message.
  virtual const OpSchema& resolve_op(const std::string& name, const std::string& where) const = 0;

  // The plugins needed to evaluate with `names` on a device, required ones first: for a device other than the CPU the
  // plugin called like it too, and of what extends others only what requires no other device's plugin. Error(environment)
  // if one is missing or disabled.
  virtual std::vector<const PluginInfo*> closure(const std::set<std::string>& names,
                                                 const std::string& device = cpu_device) const = 0;
  // Everything whose code may run: {"plugin name": hash or version, "sdk": ..., "tensor": ..., "torch": version}.
  virtual Json code_of(const std::set<std::string>& names, const std::string& device = cpu_device) const = 0;
};

// The device that a plugin's code is for: the one whose plugin it requires or is, else the CPU.
std::string device_of(const PluginInfo& plugin);

// The content hash of a file or folder: SHA-256 over sorted relative names and contents. Cached by device, inode, size and
// times in `cache_folder`. Error(usage) if it does not exist.
Hash hash_path(const std::filesystem::path& path, const std::filesystem::path& cache_folder);

}  // namespace colonnade::host
