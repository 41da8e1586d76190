#include "kernel/plugin/catalogue_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "kernel/plugin/catalogue_cache.h"
#include "kernel/plugin/describe.h"
#include "kernel/plugin/discovery.h"
#include "kernel/plugin/host_files.h"

namespace colonnade::host {

namespace {

class CatalogueLoader {
 public:
  CatalogueLoader(const PluginPaths& paths, const std::filesystem::path& cache_folder)
      : cache_(cache_folder), found_(discover_plugins(paths)) {
    for (PluginInfo& plugin : found_) by_name_[plugin.name] = &plugin;
  }

  CatalogueContents load() {
    CatalogueContents contents;
    contents.sdk = sdk_ = library_hash(sdk_library());
    if (const auto library = tensor_library()) contents.tensor = tensor_ = library_hash(*library);
    for (PluginInfo& plugin : found_) read_stamp_and_hash(plugin);
    disable_cycles();
    disable_dependants();
    describe_all();
    disable_dependants();
    disable_second_providers();
    disable_dependants();
    cache_.save();
    for (PluginInfo& plugin : found_) {
      if (!plugin.disabled.empty()) plugin.ops.clear();
    }
    std::sort(found_.begin(), found_.end(), [](const PluginInfo& a, const PluginInfo& b) { return a.name < b.name; });
    contents.plugins = std::move(found_);
    return contents;
  }

 private:
  Hash library_hash(const std::filesystem::path& file) {
    const std::optional<FileIdentity> identity = file_identity(file);
    if (!identity) throw Error(ErrorKind::environment, "cannot look at " + file.string());
    if (const FileFacts* facts = cache_.facts(file, *identity)) return facts->binary;
    const FileFacts facts{*identity, hash_file(file), std::nullopt};
    cache_.put_facts(file, facts);
    return facts.binary;
  }

  // The first gate.
  void read_stamp_and_hash(PluginInfo& plugin) {
    try {
      const std::optional<FileIdentity> identity = file_identity(plugin.file);
      if (!identity) throw Error(ErrorKind::environment, plugin.file.string() + " cannot be looked at");
      const FileFacts* known = cache_.facts(plugin.file, *identity);
      if (known != nullptr && known->stamp) {
        plugin.stamp = *known->stamp;
        plugin.binary = known->binary;
      } else {
        plugin.stamp = read_stamp(plugin.file);
        plugin.binary = hash_file(plugin.file);
        cache_.put_facts(plugin.file, {*identity, plugin.binary, plugin.stamp});
      }
      plugin.disabled = fmt::format("{}", fmt::join(mismatches(plugin.stamp, plugin.file), "; "));
    } catch (const Error& error) {
      plugin.disabled = error.what();
    }
  }

  std::vector<std::string> needed_by(const PluginInfo& plugin) const {
    std::vector<std::string> names = plugin.stamp.requires_plugins;
    names.insert(names.end(), plugin.stamp.extends_plugins.begin(), plugin.stamp.extends_plugins.end());
    return names;
  }

  // A plugin that, over others, needs itself.
  void disable_cycles() {
    for (PluginInfo& plugin : found_) {
      std::vector<std::string> pending = needed_by(plugin);
      std::set<std::string> seen;
      while (!pending.empty()) {
        const std::string name = std::move(pending.back());
        pending.pop_back();
        const auto other = by_name_.find(name);
        if (!seen.insert(name).second || other == by_name_.end()) continue;
        for (std::string& next : needed_by(*other->second)) pending.push_back(std::move(next));
      }
      if (seen.contains(plugin.name) && plugin.disabled.empty()) {
        plugin.disabled = fmt::format("it requires itself, over {}", fmt::join(seen, ", "));
      }
    }
  }

  void disable_dependants() {
    for (bool changed = true; changed;) {
      changed = false;
      for (PluginInfo& plugin : found_) {
        if (!plugin.disabled.empty()) continue;
        plugin.disabled = missing_need(plugin);
        changed = changed || !plugin.disabled.empty();
      }
    }
  }

  std::string missing_need(const PluginInfo& plugin) const {
    for (const std::string& name : needed_by(plugin)) {
      const auto other = by_name_.find(name);
      if (other == by_name_.end()) return fmt::format("it needs plugin '{}', which was not found", name);
      if (!other->second->disabled.empty()) return fmt::format("it needs plugin '{}', which is disabled", name);
    }
    return "";
  }

  void add_required(const PluginInfo& plugin, std::vector<const PluginInfo*>& order) const {
    for (const std::string& name : needed_by(plugin)) {
      const PluginInfo* other = by_name_.at(name);
      if (std::find(order.begin(), order.end(), other) != order.end()) continue;
      add_required(*other, order);
      order.push_back(other);
    }
  }

  // The second and third gate.
  void describe_all() {
    std::vector<DescribeJob> jobs;
    std::vector<std::pair<PluginInfo*, Hash>> described;
    for (PluginInfo& plugin : found_) {
      if (!plugin.disabled.empty()) continue;
      std::vector<const PluginInfo*> required;
      add_required(plugin, required);
      Json sources = Json::array({sdk_.hex(), tensor_.hex()});
      DescribeJob job;
      job.file = plugin.file;
      for (const PluginInfo* other : required) {
        sources.push_back(other->binary.hex());
        job.required.push_back(other->file);
      }
      sources.push_back(plugin.binary.hex());
      const Hash key = hash_bytes(encode(sources));
      const Json* known = cache_.description(key);
      if (known != nullptr && take_description(plugin, *known)) continue;
      jobs.push_back(std::move(job));
      described.emplace_back(&plugin, key);
    }
    run_describe_jobs(jobs);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      auto& [plugin, key] = described[i];
      plugin->disabled = jobs[i].failure;
      if (!plugin->disabled.empty()) continue;
      if (take_description(*plugin, jobs[i].description)) {
        cache_.put_description(key, std::move(jobs[i].description));
      } else {
        plugin->disabled = "the process that loaded it gave a description that cannot be read";
      }
    }
  }

  static bool take_description(PluginInfo& plugin, const Json& description) {
    try {
      std::vector<OpSchema> ops;
      for (const Json& op : description.at("ops")) ops.push_back(schema_from_json(op));
      plugin.provides = description.at("provides").get<std::map<std::string, std::vector<std::string>>>();
      plugin.ops = std::move(ops);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  // Two plugins that provide the same could not be loaded into one process: the one found first stays.
  void disable_second_providers() {
    std::map<std::pair<std::string, std::string>, std::string> providers;
    for (PluginInfo& plugin : found_) {
      if (!plugin.disabled.empty()) continue;
      for (const auto& [kind, ids] : plugin.provides) {
        for (const std::string& id : ids) {
          const auto [first, fresh] = providers.try_emplace({kind, id}, plugin.name);
          if (!fresh)
            plugin.disabled = fmt::format("it provides {} '{}', and so does plugin '{}'", kind, id, first->second);
        }
      }
      if (plugin.disabled.empty()) continue;
      std::erase_if(providers, [&](const auto& entry) { return entry.second == plugin.name; });
    }
  }

  CatalogueCache cache_;
  std::vector<PluginInfo> found_;  // in order of precedence
  std::map<std::string, PluginInfo*> by_name_;
  Hash sdk_, tensor_;
};

}  // namespace

CatalogueContents load_contents(const PluginPaths& paths, const std::filesystem::path& cache_folder) {
  return CatalogueLoader(paths, cache_folder).load();
}

}  // namespace colonnade::host
