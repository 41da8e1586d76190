#include "kernel/evaluate/key_sources.h"

#include <fmt/format.h>

#include "colonnade/error.h"
#include "kernel/evaluate/system.h"

namespace colonnade::host {

KeySources make_key_sources(const Catalogue& catalogue, const std::filesystem::path& cache_folder) {
  KeySources sources;
  auto code = std::make_shared<std::map<std::pair<std::string, std::string>, Json>>();
  sources.code = [&catalogue, code](const std::string& plugin, const std::string& device) {
    const auto known = code->find({plugin, device});
    if (known != code->end()) return known->second;
    return code->emplace(std::pair(plugin, device), catalogue.code_of({plugin}, device)).first->second;
  };
  auto contents = std::make_shared<std::map<std::string, Hash>>();
  sources.path_content = [cache_folder, contents](const std::string& path) {
    const auto known = contents->find(path);
    return known != contents->end() ? known->second
                                    : contents->emplace(path, hash_path(path, cache_folder)).first->second;
  };
  sources.schema = [&catalogue](const std::string& op) { return catalogue.find_op(op); };
  sources.machine = machine_identity();
  sources.card = cuda_card();
  return sources;
}

KeySources with_paths_as_they_are(KeySources sources, const std::filesystem::path& cache_folder) {
  sources.path_content = [cache_folder](const std::string& path) { return hash_path(path, cache_folder); };
  return sources;
}

std::vector<KeyInput> key_inputs(const Node& node, const std::function<const Manifest&(const NodeRef&)>& manifest_of) {
  std::vector<KeyInput> inputs;
  for (const NodeInput& input : node.inputs) {
    const Manifest& manifest = manifest_of(input.from.node);
    const auto field = manifest.fields.find(input.from.field);
    if (field == manifest.fields.end()) {
      throw Error(ErrorKind::op, fmt::format("{} has no field '{}'", input.from.node->schema->id(), input.from.field));
    }
    inputs.push_back({input.role, field->second.content, field->second.carries});
  }
  return inputs;
}

std::vector<std::string> paths_in(const OpSchema& schema, const Json& params, const KeySources& sources) {
  std::vector<std::string> paths;
  KeySources collecting = sources;
  collecting.path_content = [&](const std::string& path) {
    paths.push_back(path);
    return Hash();
  };
  std::set<std::string> ignored;
  key_params(schema, params, collecting, ignored);
  return paths;
}

}  // namespace colonnade::host
