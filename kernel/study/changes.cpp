#include "kernel/study/changes.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "colonnade/error.h"
#include "colonnade/text.h"
#include "kernel/graph/keys.h"

namespace colonnade::host {
namespace {

std::string in_short(const Json& value) {
  constexpr std::size_t hash_digits = 64, shown_digits = 12, most = 60;
  if (value.is_null()) return "nothing";
  const std::string text = value.is_string() ? value.get<std::string>() : json_text(value);
  return text.size() == hash_digits ? text.substr(0, shown_digits) : shortened(text, most);
}

// The recorded keys' inputs: contents from the journal, carried plugins from the manifests where those are kept.
std::vector<KeyInput> recorded_inputs(const RunHistory& history, const NodeRecord& record, const Store& store) {
  std::vector<KeyInput> inputs;
  for (const NodeRecord::Input& input : record.inputs) {
    const NodeRecord* from = history.find(input.node);
    KeyInput key_input{input.role, {}, {}};
    if (from && from->contents.count(input.field)) key_input.content = from->contents.at(input.field);
    const Trace* trace = from ? store.find_even_without_blobs(from->key) : nullptr;
    if (trace && trace->manifest.fields.count(input.field))
      key_input.carries = trace->manifest.fields.at(input.field).carries;
    inputs.push_back(std::move(key_input));
  }
  return inputs;
}

std::string describe(const KeyDifference& difference, const NodeRecord& record) {
  const std::string sides =
      fmt::format("{} in the run, {} now", in_short(difference.before), in_short(difference.after));
  if (difference.part.starts_with("code.")) {
    const std::string name = difference.part.substr(std::string("code.").size());
    if (name == "torch") return fmt::format("LibTorch differs: {}", sides);
    return fmt::format("the code of '{}' differs: {}", name, sides);
  }
  if (difference.part.starts_with("params.")) {
    return fmt::format("parameter {} of {} names other contents: {}",
                       difference.part.substr(std::string("params.").size()), record.op, sides);
  }
  if (difference.part == "machine") return fmt::format("this is another machine: {}", sides);
  return fmt::format("{} differs: {}", difference.part, sides);
}

class ChangeFinder {
 public:
  ChangeFinder(const RunRecord& run, const Store& store, const NumericEnvironment& environment,
               const KeySources& sources)
      : run_(run), store_(store), environment_(environment), sources_(sources) {}

  void look_at(const NodeRecord& record, const NodeRef& node) {
    const Trace* trace = store_.find_even_without_blobs(record.key);
    if (!trace) {
      add("store", fmt::format("the store has no trace of {} any more: only its contents' hashes are compared",
                               record.short_name()));
      return;
    }
    try {
      const NodeKey now = make_key(*node, recorded_inputs(run_.history, record, store_), environment_, sources_);
      for (const KeyDifference& difference : compare_keys(trace->key_record, now.record)) {
        add(difference.part, describe(difference, record));
      }
    } catch (const Error& error) {
      add("params", fmt::format("{}: {}", record.short_name(), error.what()));
    }
  }

  // Code as the lock has it, which is known where the store has no traces.
  void look_at_code(const std::string& plugin, const Json& recorded) {
    Json now;
    try {
      now = sources_.code(plugin, environment_.device);
    } catch (const Error& error) {
      return add("code." + plugin, absent_plugin(plugin, recorded.value(plugin, Json()), error.what()));
    }
    for (const auto& [name, code] : now.items()) {
      if (!recorded.contains(name) || recorded.at(name) == code) continue;
      const std::string part = "code." + name;
      add(part, describe({part, recorded.at(name), code}, {}));
    }
  }

  bool is_absent(const std::string& plugin) const { return absent_.count(plugin) > 0; }

  void add(const std::string& part, const std::string& text) {
    if (seen_.insert(text).second) changes_.push_back({part, text});
  }

  std::vector<Change> take() { return std::move(changes_); }

 private:
  std::string absent_plugin(const std::string& plugin, const Json& code, const std::string& why) {
    absent_.insert(plugin);
    std::string gone;
    std::error_code error;
    for (const std::filesystem::path& file : run_.history.plugins) {
      if (!std::filesystem::exists(file, error)) gone += fmt::format("; the run's --plugin {} is gone", file.string());
    }
    return fmt::format(
        "plugin '{}', whose code was {} in the run, cannot be used here: {}{}; give its file with --plugin", plugin,
        in_short(code), why, gone);
  }

  const RunRecord& run_;
  const Store& store_;
  const NumericEnvironment& environment_;
  const KeySources& sources_;
  std::set<std::string> seen_, absent_;
  std::vector<Change> changes_;
};

std::string tensor_named(const FieldManifest& field, const Hash& blob) {
  for (const auto& [name, reference] : field.tensors) {
    if (reference.hash == blob) return name;
  }
  return "";
}

}  // namespace

std::vector<Change> find_changes(const RunRecord& run, const std::vector<const NodeRecord*>& order,
                                 const RebuiltGraph& graph, const Store& store, const NumericEnvironment& environment,
                                 const KeySources& sources) {
  ChangeFinder finder(run, store, environment, sources);
  for (const std::string& line : run.damage) finder.add("journal", line);
  if (!run.history.cpu.empty() && run.history.cpu != cpu_model()) {
    finder.add("cpu",
               fmt::format("this is another processor: '{}' in the run, '{}' now", run.history.cpu, cpu_model()));
  }
  Json code = run.lock.value("code", Json::object());
  for (const auto& [plugin, part] : run.history.code) code.update(part);
  for (const NodeRecord* record : order) finder.look_at_code(record->plugin(), code);
  for (const NodeRecord* record : order) {
    const auto missing = graph.missing.find(record);
    if (finder.is_absent(record->plugin())) continue;
    if (missing != graph.missing.end()) {
      finder.add("op", fmt::format("{}: {}", record->short_name(), missing->second));
    } else {
      finder.look_at(*record, graph.nodes.at(record));
    }
  }
  return finder.take();
}

std::vector<Damage> find_damage(const std::vector<const NodeRecord*>& order, Store& store) {
  std::vector<Damage> found;
  for (const NodeRecord* record : order) {
    const Trace* trace = store.find(record->key);
    if (!trace) continue;
    // Reading one damaged blob makes the store forget the trace.
    const Manifest manifest = trace->manifest;
    for (const auto& [name, field] : manifest.fields) {
      try {
        store.get(field, manifest);
      } catch (const DamagedBlob& damaged) {
        const std::string tensor = tensor_named(field, damaged.hash);
        const std::string what = tensor.empty() ? "its document" : fmt::format("tensor '{}'", tensor);
        found.push_back({record, name, tensor,
                         fmt::format("{} of field '{}' of {} is damaged in the store: {}", what, name,
                                     record->short_name(), damaged.what())});
      }
    }
  }
  return found;
}

}  // namespace colonnade::host
