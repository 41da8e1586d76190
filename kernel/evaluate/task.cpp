#include "kernel/evaluate/task.h"

namespace colonnade::host {

TaskInput make_task_input(const std::string& role, const Manifest& whole, const std::string& field) {
  TaskInput input;
  input.role = role;
  const FieldManifest& source = whole.fields.at(field);
  input.manifest.fields[TaskInput::kField] = source;
  const auto take_inline = [&](const BlobRef& blob) {
    const auto found = whole.inline_blobs.find(blob.hash);
    if (found != whole.inline_blobs.end()) input.manifest.inline_blobs.insert(*found);
  };
  if (source.document_blob) take_inline(*source.document_blob);
  for (const auto& [name, blob] : source.tensors) take_inline(blob);
  return input;
}

Json to_json(const Task& task) {
  Json plugins = Json::array();
  for (const TaskPlugin& plugin : task.plugins) {
    plugins.push_back({{"name", plugin.name},
                       {"version", plugin.version},
                       {"origin", plugin.origin},
                       {"file", plugin.file.string()},
                       {"binary", plugin.binary.hex()}});
  }
  Json inputs = Json::array();
  for (const TaskInput& input : task.inputs) {
    inputs.push_back({{"role", input.role}, {"manifest", to_json(input.manifest)}});
  }
  return {{"type", "evaluate"},    {"id", task.id},           {"key", task.key.hex()},
          {"op", task.op},         {"seed", task.seed},       {"stream", task.stream},
          {"params", task.params}, {"device", task.device},   {"inputs", inputs},
          {"plugins", plugins},    {"threads", task.threads}, {"quick_seconds", task.quick_seconds}};
}

Task task_from_json(const Json& document) {
  Task task;
  task.id = document.at("id").get<std::uint64_t>();
  task.key = Hash::from_hex(document.at("key").get<std::string>());
  task.op = document.at("op").get<std::string>();
  task.params = document.at("params");
  task.seed = document.at("seed").get<std::uint64_t>();
  task.stream = document.at("stream").get<std::uint64_t>();
  task.threads = document.at("threads").get<int>();
  task.quick_seconds = document.at("quick_seconds").get<double>();
  task.device = document.at("device").get<std::string>();
  for (const Json& plugin : document.at("plugins")) {
    task.plugins.push_back({plugin.at("name").get<std::string>(), plugin.at("version").get<std::string>(),
                            plugin.at("origin").get<std::string>(), plugin.at("file").get<std::string>(),
                            Hash::from_hex(plugin.at("binary").get<std::string>())});
  }
  for (const Json& input : document.at("inputs")) {
    task.inputs.push_back({input.at("role").get<std::string>(), manifest_from_json(input.at("manifest"))});
  }
  return task;
}

}  // namespace colonnade::host
