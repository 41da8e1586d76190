#include "kernel/plugin/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "colonnade/error.h"
#include "colonnade/version.h"
#include "kernel/plugin/catalogue_loader.h"
#include "kernel/plugin/host_files.h"

namespace colonnade::host {

namespace {

constexpr const char* no_torch = "none";

class LoadedCatalogue final : public Catalogue {
 public:
  LoadedCatalogue(CatalogueContents contents, bool trust_versions)
      : contents_(std::move(contents)), trust_versions_(trust_versions) {
    for (const PluginInfo& plugin : contents_.plugins) {
      plugins_.emplace(plugin.name, &plugin);
      for (const std::string& extended : plugin.stamp.extends_plugins) {
        if (plugin.disabled.empty()) extensions_[extended].push_back(&plugin);
      }
      if (!plugin.disabled.empty()) continue;
      for (const OpSchema& op : plugin.ops) {
        ops_.emplace(op.id(), &op);
        short_names_[op.name].push_back(&op);
      }
    }
  }

  const std::vector<PluginInfo>& plugins() const override { return contents_.plugins; }

  const PluginInfo* find_plugin(const std::string& name) const override {
    const auto found = plugins_.find(name);
    return found == plugins_.end() ? nullptr : found->second;
  }

  std::vector<const OpSchema*> ops() const override {
    std::vector<const OpSchema*> all;
    for (const auto& [id, op] : ops_) all.push_back(op);
    return all;
  }

  const OpSchema* find_op(const std::string& id) const override {
    const auto found = ops_.find(id);
    return found == ops_.end() ? nullptr : found->second;
  }

  std::vector<const OpSchema*> find_short(const std::string& name) const override {
    const auto found = short_names_.find(name);
    return found == short_names_.end() ? std::vector<const OpSchema*>() : found->second;
  }

  const OpSchema& resolve_op(const std::string& name, const std::string& where) const override;
  std::vector<const PluginInfo*> closure(const std::set<std::string>& names, const std::string& device) const override;
  Json code_of(const std::set<std::string>& names, const std::string& device) const override;

 private:
  [[noreturn]] void refuse_full_id(const std::string& name, const std::string& opening) const;
  [[noreturn]] void refuse_short_name(const std::string& name, const std::string& opening) const;
  std::vector<std::string> plugin_names() const;
  struct Closure {
    std::string device;
    std::set<std::string> seen;
    std::vector<const PluginInfo*> plugins;
  };
  void add_to_closure(const std::string& name, const std::string& reason, Closure& closure) const;

  CatalogueContents contents_;
  bool trust_versions_;
  std::map<std::string, const PluginInfo*> plugins_;
  std::map<std::string, std::vector<const PluginInfo*>> extensions_;  // by the plugin that is extended
  std::map<std::string, const OpSchema*> ops_;
  std::map<std::string, std::vector<const OpSchema*>> short_names_;
  mutable std::map<std::pair<std::set<std::string>, std::string>, Json> code_;  // by names and device
};

std::vector<std::string> LoadedCatalogue::plugin_names() const {
  std::vector<std::string> names;
  for (const auto& [name, plugin] : plugins_) names.push_back(name);
  return names;
}

const OpSchema& LoadedCatalogue::resolve_op(const std::string& name, const std::string& where) const {
  const std::string opening = where.empty() ? "" : where + ": ";
  if (name.find('/') != std::string::npos) {
    if (const OpSchema* op = find_op(name)) return *op;
    refuse_full_id(name, opening);
  }
  const std::vector<const OpSchema*> candidates = find_short(name);
  if (candidates.size() == 1) return *candidates.front();
  if (candidates.empty()) refuse_short_name(name, opening);
  std::vector<std::string> ids;
  for (const OpSchema* op : candidates) ids.push_back("'" + op->id() + "'");
  throw Error(ErrorKind::usage, fmt::format("{}'{}' is the name of several ops: {}; write one of these in full",
                                            opening, name, fmt::join(ids, " and ")));
}

std::vector<std::string> op_names(const PluginInfo& plugin) {
  std::vector<std::string> names;
  for (const OpSchema& op : plugin.ops) names.push_back(op.name);
  return names;
}

void LoadedCatalogue::refuse_full_id(const std::string& name, const std::string& opening) const {
  const std::string plugin_name = name.substr(0, name.find('/'));
  const PluginInfo* plugin = find_plugin(plugin_name);
  if (plugin == nullptr) {
    throw Error(ErrorKind::usage, fmt::format("{}unknown op '{}': there is no plugin '{}'{}", opening, name,
                                              plugin_name, did_you_mean(plugin_name, plugin_names())));
  }
  if (!plugin->disabled.empty()) {
    throw Error(ErrorKind::usage, fmt::format("{}op '{}' cannot be used: plugin '{}' ({}) is disabled: {}", opening,
                                              name, plugin_name, plugin->file.string(), plugin->disabled));
  }
  const std::vector<std::string> names = op_names(*plugin);
  throw Error(ErrorKind::usage, fmt::format("{}unknown op '{}'{}; plugin '{}' has: {}", opening, name,
                                            did_you_mean(name.substr(plugin_name.size() + 1), names), plugin_name,
                                            fmt::join(names, ", ")));
}

void LoadedCatalogue::refuse_short_name(const std::string& name, const std::string& opening) const {
  const PluginInfo* plugin = find_plugin(name);
  if (plugin != nullptr && !plugin->disabled.empty()) {
    throw Error(ErrorKind::usage, fmt::format("{}unknown op '{}'; a plugin of that name ({}) is disabled: {}", opening,
                                              name, plugin->file.string(), plugin->disabled));
  }
  if (plugin != nullptr) {
    throw Error(ErrorKind::usage, fmt::format("{}unknown op '{}'; the plugin of that name has: {}", opening, name,
                                              fmt::join(op_names(*plugin), ", ")));
  }
  std::vector<std::string> names, disabled;
  for (const auto& [short_name, ops] : short_names_) names.push_back(short_name);
  for (const PluginInfo& other : contents_.plugins) {
    if (!other.disabled.empty()) disabled.push_back(other.name);
  }
  const std::string note = disabled.empty() ? ""
                                            : fmt::format(" (disabled plugins: {}; `colonnade plugin list` says why)",
                                                          fmt::join(disabled, ", "));
  throw Error(ErrorKind::usage, fmt::format("{}unknown op '{}'{}{}", opening, name, did_you_mean(name, names), note));
}

void LoadedCatalogue::add_to_closure(const std::string& name, const std::string& reason, Closure& closure) const {
  if (!closure.seen.insert(name).second) return;
  const PluginInfo* plugin = find_plugin(name);
  if (plugin == nullptr) {
    throw Error(ErrorKind::environment, fmt::format("plugin '{}' is needed{} and was not found{}", name, reason,
                                                    did_you_mean(name, plugin_names())));
  }
  if (!plugin->disabled.empty()) {
    throw Error(ErrorKind::environment, fmt::format("plugin '{}' ({}) is needed{} and disabled: {}", name,
                                                    plugin->file.string(), reason, plugin->disabled));
  }
  const std::string by = fmt::format(" by plugin '{}'", name);
  for (const std::string& required : plugin->stamp.requires_plugins) add_to_closure(required, by, closure);
  for (const std::string& extended : plugin->stamp.extends_plugins) add_to_closure(extended, by, closure);
  closure.plugins.push_back(plugin);
  const auto extensions = extensions_.find(name);
  if (extensions == extensions_.end()) return;
  for (const PluginInfo* extension : extensions->second) {
    const std::string device = device_of(*extension);
    if (device == cpu_device || device == closure.device) add_to_closure(extension->name, by, closure);
  }
}

std::vector<const PluginInfo*> LoadedCatalogue::closure(const std::set<std::string>& names,
                                                        const std::string& device) const {
  Closure result;
  result.device = device;
  if (device != cpu_device) add_to_closure(device, fmt::format(" for the device '{}'", device), result);
  for (const std::string& name : names) add_to_closure(name, "", result);
  return result.plugins;
}

Json LoadedCatalogue::code_of(const std::set<std::string>& names, const std::string& device) const {
  const auto known = code_.find({names, device});
  if (known != code_.end()) return known->second;
  const auto code = [&](const Hash& binary, const std::string& version) {
    return trust_versions_ ? "version " + version : binary.hex();
  };
  Json result = {{"sdk", code(contents_.sdk, COLONNADE_VERSION)}};
  bool with_torch = false;
  for (const PluginInfo* plugin : closure(names, device)) {
    result[plugin->name] = code(plugin->binary, plugin->stamp.version);
    with_torch = with_torch || plugin->stamp.torch != no_torch;
  }
  if (with_torch) {
    result["tensor"] = code(contents_.tensor, COLONNADE_VERSION);
    result["torch"] = host_torch_version().value_or(no_torch);
  }
  return code_[{names, device}] = result;
}

}  // namespace

std::string device_of(const PluginInfo& plugin) {
  const auto& required = plugin.stamp.requires_plugins;
  const bool cuda =
      plugin.name == cuda_device || std::find(required.begin(), required.end(), cuda_device) != required.end();
  return cuda ? cuda_device : cpu_device;
}

std::unique_ptr<Catalogue> Catalogue::load(const PluginPaths& paths, const std::filesystem::path& cache_folder,
                                           bool trust_versions) {
  return std::make_unique<LoadedCatalogue>(load_contents(paths, cache_folder), trust_versions);
}

}  // namespace colonnade::host
