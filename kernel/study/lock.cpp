#include "kernel/study/lock.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <system_error>

#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "colonnade/version.h"
#include "kernel/evaluate/key_sources.h"
#include "kernel/store/files.h"
#include "kernel/study/settings.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

constexpr int lock_format = 1;
constexpr std::size_t id_digits = 8;

class GraphWriter {
 public:
  GraphWriter(const StudyDescription& description, const KeySources& sources) : sources_(sources) {
    for (const NodeRef& node : template_nodes(description)) add(node);
  }

  Json nodes() const { return nodes_; }

  Json metrics(const std::vector<MetricRef>& metrics) const {
    Json list = Json::array();
    for (const MetricRef& metric : metrics) list.push_back({metric.name, number(metric.from), metric.from.field});
    return list;
  }

  Json arms(const std::vector<Arm>& arms) const {
    Json list = Json::array();
    for (const Arm& arm : arms) {
      Json entry = {
          {"name", arm.name}, {"point", arm.point}, {"adaptive", arm.adaptive}, {"metrics", metrics(arm.metrics)}};
      if (!arm.files.empty()) entry["files"] = metrics(arm.files);
      list.push_back(std::move(entry));
    }
    return list;
  }

 private:
  int number(const FieldRef& field) const { return numbers_.at(field.node.get()); }

  void add(const NodeRef& node) {
    numbers_[node.get()] = static_cast<int>(nodes_.size());
    std::set<std::string> plugins;
    Json inputs = Json::array();
    for (const NodeInput& input : node->inputs) inputs.push_back({input.role, number(input.from), input.from.field});
    Json entry = {{"op", node->schema->id()},
                  {"version", node->schema->version},
                  {"params", key_params(*node->schema, node->params, sources_, plugins)},
                  {"inputs", inputs}};
    if (node->seed) entry["seed"] = node->seed->symbolic ? Json("trial") : Json(node->seed->value);
    if (node->stream) entry["stream"] = *node->stream;
    if (!node->device.empty()) entry["device"] = node->device;
    nodes_.push_back(std::move(entry));
  }

  const KeySources& sources_;
  std::map<const Node*, int> numbers_;
  Json nodes_ = Json::array();
};

// What a setting holds, with contents in place of paths.
Json without_paths(const std::string& name, const Json& value, const Settings& settings, const KeySources& sources) {
  if (value.is_object() || value.is_array()) {
    Json result = value;
    for (const auto& [key, item] : value.items()) {
      if (value.is_array()) {
        result[std::stoul(key)] = without_paths(name, item, settings, sources);
      } else {
        result[key] = without_paths(name + "." + key, item, settings, sources);
      }
    }
    return result;
  }
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) return value;
  const fs::path path = value.get<std::string>();
  if (!names_a_path(name) && !path.is_absolute()) return value;
  std::error_code error;
  const fs::path absolute = (settings.study_folder / path).lexically_normal();
  if (!fs::exists(absolute, error)) return value;
  return {{"content", sources.path_content(absolute.string()).hex()}};
}

Json sources_of(const StudyDescription& description, const Settings& settings) {
  Json list = Json::array();
  for (const fs::path& source : description.sources) {
    const auto text = read_file_if_there(source);
    if (!text) throw Error(ErrorKind::environment, fmt::format("{}: cannot read this source again", source.string()));
    list.push_back(
        {{"name", source_name(source, settings.study_folder)}, {"hash", hash_bytes(*text).hex()}, {"text", *text}});
  }
  return list;
}

Json parse_lock(const fs::path& file) {
  const auto text = read_file_if_there(file);
  if (!text)
    throw Error(ErrorKind::environment, fmt::format("{}: cannot be read; every run has a lock", file.string()));
  return Json::parse(*text, nullptr, false);
}

// Text that is not UTF-8 cannot stand in JSON; it is replaced where it occurs, and its hash tells it apart.
std::string dump(const Json& document) {
  return document.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::vector<NodeRef> template_nodes(const StudyDescription& description) {
  std::vector<NodeRef> targets;
  for (const Arm& arm : description.arms) {
    for (const MetricRef& metric : arm.metrics) targets.push_back(metric.from.node);
    for (const MetricRef& file : arm.files) targets.push_back(file.from.node);
  }
  for (const MetricRef& metric : description.shared) targets.push_back(metric.from.node);
  for (const MetricRef& file : description.shared_files) targets.push_back(file.from.node);
  return topological_order(targets);
}

std::set<std::string> plugins_of(const std::vector<NodeRef>& nodes, const KeySources& sources) {
  std::set<std::string> plugins;
  for (const NodeRef& node : nodes) {
    plugins.insert(node->schema->plugin);
    key_params(*node->schema, node->params, sources, plugins);
  }
  return plugins;
}

// A run that reaches a card depends on its code and on which one it is.
std::string device_reached(const std::vector<NodeRef>& nodes, const NumericEnvironment& environment) {
  const bool cuda = std::any_of(nodes.begin(), nodes.end(),
                                [&](const NodeRef& node) { return device_of(*node, environment) == cuda_device; });
  return cuda ? cuda_device : environment.device;
}

StudyLock make_lock(const LockInputs& inputs) {
  const StudyDescription& description = inputs.description;
  const std::vector<NodeRef> nodes = template_nodes(description);
  const std::string device = device_reached(nodes, inputs.environment);
  const KeySources sources = make_key_sources(inputs.catalogue, inputs.cache_folder);
  const GraphWriter graph(description, sources);
  Json document = {
      {"format", lock_format},
      {"study",
       {{"name", description.name},
        {"question", description.question},
        {"sources", sources_of(description, inputs.settings)},
        {"arms", graph.arms(description.arms)},
        {"shared", graph.metrics(description.shared)},
        {"figures", description.figures},
        {"report", description.report}}},
      {"seeds", inputs.seeds},
      {"settings", without_paths("", description.used_settings, inputs.settings, sources)},
      {"nodes", graph.nodes()},
      {"code", inputs.catalogue.code_of(plugins_of(nodes, sources), device)},
      {"device", inputs.environment.device},
      {"environment", to_json(inputs.environment)},
  };
  if (!description.shared_files.empty()) document["study"]["files"] = graph.metrics(description.shared_files);
  if (inputs.trust_versions) document["trust_versions"] = true;
  if (device == cuda_device) document["card"] = sources.card;
  StudyLock lock;
  // As it will be read back.
  lock.document = Json::parse(dump(document));
  lock.id = lock_id(lock.document);
  return lock;
}

std::string lock_id(const Json& document) {
  return hash_bytes(encode(document)).hex().substr(0, id_digits);
}

std::string lock_text(const Json& document) {
  return dump(document) + "\n";
}

Json read_lock_of_renamed(const fs::path& file) {
  Json document = parse_lock(file);
  try {
    for (const Json& source : document.at("study").at("sources")) {
      const bool whole = hash_bytes(source.at("text").get_ref<const std::string&>()).hex() == source.at("hash");
      if (!whole) throw Error(ErrorKind::input, "a source has been changed");
    }
  } catch (const std::exception& error) {
    throw Error(ErrorKind::environment, fmt::format("{}: damaged: {}", file.string(), error.what()));
  }
  return document;
}

Json read_lock(const fs::path& file, const std::string& id) {
  Json document = parse_lock(file);
  if (!document.is_object() || lock_id(document) != id) {
    throw Error(ErrorKind::environment,
                fmt::format("{}: damaged: it is not the lock that the run's name stands for; running the study again "
                            "writes it anew",
                            file.string()));
  }
  return document;
}

NumericEnvironment recorded_environment(const Json& lock) {
  const Json& environment = lock.at("environment");
  return numeric_environment(lock.at("device"), environment.at("threads"), environment.at("simd"));
}

std::string source_name(const fs::path& source, const fs::path& study_folder) {
  const fs::path relative = source.lexically_relative(study_folder);
  if (!relative.empty() && *relative.begin() != "..") return relative.string();
  return "scripts/" + source.filename().string();
}

}  // namespace colonnade::host
