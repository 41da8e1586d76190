#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "colonnade/hash.h"
#include "colonnade/json.h"
#include "kernel/store/store.h"

namespace colonnade::host {

// A plugin that a worker loads before it evaluates; `binary` is what the file must still be.
struct TaskPlugin {
  std::string name, version, origin;
  std::filesystem::path file;
  Hash binary;
};

// One input: its role, and a manifest that holds its field alone with the inline blobs that the field needs.
struct TaskInput {
  static constexpr const char* kField = "input";
  std::string role;
  Manifest manifest;

  const FieldManifest& field() const { return manifest.fields.at(kField); }
};
TaskInput make_task_input(const std::string& role, const Manifest& whole, const std::string& field);

// One node for a worker: everything that evaluating it takes.
struct Task {
  std::uint64_t id = 0;
  Hash key;
  std::string op;
  Json params;
  std::uint64_t seed = 0, stream = 0;
  int threads = 1;
  double quick_seconds = 0;  // what takes no longer need not outlast a power cut: it is computed again
  std::string device;
  std::vector<TaskPlugin> plugins;  // required ones first
  std::vector<TaskInput> inputs;
};
Json to_json(const Task& task);
Task task_from_json(const Json& document);

}  // namespace colonnade::host
