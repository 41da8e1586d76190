#include "kernel/study/export.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "colonnade/error.h"
#include "colonnade/files.h"
#include "kernel/graph/node.h"
#include "kernel/store/folder_writer.h"
#include "kernel/study/collect.h"
#include "kernel/study/hints.h"
#include "kernel/study/interrupt.h"
#include "kernel/study/lock.h"
#include "kernel/study/rebuild.h"

namespace colonnade::host {
namespace {

constexpr const char* files_type = "files";
constexpr const char* model_type = "model";

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorKind::usage, message);
}

// A recorded field.
struct Target {
  const NodeRecord* node = nullptr;
  std::string field;  // "" not chosen yet
};

std::vector<const TrialRecord*> trials_of(const RunHistory& history, const std::string& arm) {
  std::vector<const TrialRecord*> trials;
  for (const TrialRecord& trial : history.trials) {
    if (trial.arm == arm) trials.push_back(&trial);
  }
  return trials;
}

const TrialRecord& chosen_trial(const std::vector<const TrialRecord*>& trials, const ExportRequest& request) {
  std::vector<std::uint64_t> seeds;
  std::set<Hash> outputs;
  for (const TrialRecord* trial : trials) {
    if (request.seed == trial->seed) return *trial;
    seeds.push_back(trial->seed);
    outputs.insert(trial->output ? trial->output->node : Hash());
  }
  const std::string list = fmt::format("it has: {}", fmt::join(seeds, ", "));
  if (request.seed) refuse(fmt::format("--seed {}: arm '{}' has no such seed; {}", *request.seed, request.what, list));
  if (outputs.size() > 1)
    refuse(fmt::format("arm '{}' was run under several seeds; choose one with --seed; {}", request.what, list));
  return *trials.front();
}

Target target_of_arm(const RunRecord& run, const std::vector<const TrialRecord*>& trials,
                     const ExportRequest& request) {
  const TrialRecord& trial = chosen_trial(trials, request);
  const std::string arm = fmt::format("arm '{}', seed {}", trial.arm, trial.seed);
  if (!trial.failure.empty()) refuse(fmt::format("{} failed: {}", arm, trial.failure));
  if (!trial.output) {
    refuse(fmt::format("{}: the run does not say which model it ends in; name a node ('colonnade show {}' lists them)",
                       arm, run.folder.name()));
  }
  const NodeRecord* node = run.history.find(trial.output->node);
  if (!node) refuse(fmt::format("{}: the model that it ends in was not evaluated: no metric needed it", arm));
  return {node, trial.output->field};
}

Target find_target(const RunRecord& run, const ExportRequest& request) {
  const auto trials = trials_of(run.history, request.what);
  if (!trials.empty()) return target_of_arm(run, trials, request);
  std::vector<std::string> arms;
  for (const TrialRecord& trial : run.history.trials) arms.push_back(trial.arm);
  std::sort(arms.begin(), arms.end());
  arms.erase(std::unique(arms.begin(), arms.end()), arms.end());
  const std::string meant = did_you_mean(request.what, arms);
  if (!meant.empty()) refuse(fmt::format("'{}' is no arm of this run{}", request.what, meant));
  try {
    return {&resolve_node(run.history, request.what), ""};
  } catch (const Error& error) {
    refuse(fmt::format("{}; arms: {}", error.what(), fmt::join(arms, ", ")));
  }
}

std::string listed(const std::map<std::string, FieldManifest>& fields) {
  std::string text;
  for (const auto& [name, field] : fields) text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", name, field.type);
  return text;
}

std::string chosen_field(const Target& target, const std::string& asked,
                         const std::map<std::string, FieldManifest>& fields) {
  if (!asked.empty()) {
    if (fields.count(asked)) return asked;
    std::vector<std::string> names;
    for (const auto& [name, field] : fields) names.push_back(name);
    refuse(fmt::format("--field {}: {} has no such field{}", asked, target.node->short_name(),
                       then(did_you_mean(asked, names), "fields: " + listed(fields))));
  }
  if (!target.field.empty()) return target.field;
  for (const std::string type : {model_type, files_type}) {
    std::vector<std::string> names;
    for (const auto& [name, field] : fields) {
      if (field.type == type) names.push_back(name);
    }
    if (names.size() == 1) return names.front();
  }
  if (fields.size() == 1) return fields.begin()->first;
  refuse(fmt::format("{} has several fields; choose one with --field: {}", target.node->short_name(), listed(fields)));
}

bool is_format_for(const OpSchema& schema, const std::string& type) {
  if (schema.outputs.front().type != files_type || schema.inputs.empty()) return false;
  const auto& inputs = schema.inputs;
  const bool alone =
      std::all_of(inputs.begin() + 1, inputs.end(), [](const InputSpec& input) { return input.optional; });
  return alone && (inputs.front().type == type || inputs.front().type == "any");
}

const OpSchema& chosen_format(const Catalogue& catalogue, const std::string& name, const std::string& type) {
  std::vector<const OpSchema*> fitting;
  std::vector<std::string> names;
  for (const OpSchema* schema : catalogue.ops()) {
    if (!is_format_for(*schema, type)) continue;
    if (schema->name == name || schema->id() == name) fitting.push_back(schema);
    names.push_back(schema->name);
  }
  if (fitting.size() == 1) return *fitting.front();
  if (fitting.size() > 1) {
    refuse(fmt::format("--format {}: both {} and {} are called that; give the plugin too", name, fitting[0]->id(),
                       fitting[1]->id()));
  }
  const std::string there = names.empty() ? fmt::format("no plugin here has a format for a field of type '{}'", type)
                                          : fmt::format("formats of a {}: {}", type, fmt::join(names, ", "));
  if (name.empty()) refuse(fmt::format("a format is needed (--format) for a field of type '{}'; {}", type, there));
  refuse(fmt::format("--format {}: there is no such format of a {}{}", name, type,
                     then(did_you_mean(name, names), there)));
}

// A parameter's value from its text, read as its type says.
Json value_of(const OpSchema& schema, const Param& param, const std::string& text, const std::string& where) {
  switch (param.type) {
    case ParamType::string:
    case ParamType::choice:
    case ParamType::sites:
      return text;
    case ParamType::path:
      if (!std::filesystem::exists(text)) refuse(fmt::format("{}: there is no such file or folder: {}", where, text));
      return std::filesystem::absolute(text).lexically_normal().string();
    case ParamType::recipe:
      refuse(fmt::format("{}: a recipe cannot be given on the command line; use '{}' in a study", where, schema.name));
    default:
      break;
  }
  const Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) {
    refuse(fmt::format("{}: '{}' cannot be read; allowed: {}", where, text, allowed_text(param)));
  }
  return value;
}

Json params_of(const OpSchema& schema, const std::vector<std::string>& texts) {
  Json params = Json::object();
  for (const std::string& text : texts) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0) refuse(fmt::format("--param {}: expected NAME=VALUE", text));
    const std::string name = text.substr(0, equals);
    const Param* param = schema.find_param(name);
    const std::string where = "--param " + name;
    // An unknown name is refused with the rest below.
    params[name] = param ? value_of(schema, *param, text.substr(equals + 1), where) : Json();
  }
  return complete_params(schema, params, "--param");
}

std::vector<const NodeRecord*> ancestors(const RunHistory& history, const NodeRecord& target) {
  RunHistory one = history;
  one.trials = {{"", 0, Json::object(), {{"", target.structure, ""}}, {}, {}, ""}};
  one.decisions.clear();
  one.shared.clear();
  one.shared_files.clear();
  std::vector<const NodeRecord*> order;
  for (const NodeRecord* node : reached_nodes(one)) order.push_back(history.find(node->structure));
  return order;
}

// The recorded field, and through the format's op where one is asked for.
FieldRef field_to_write(const RunRecord& run, const Catalogue& catalogue, const Target& target, const std::string& type,
                        const ExportRequest& request, NodeFactory& factory) {
  const RebuiltGraph graph = rebuild_graph(run.history, ancestors(run.history, *target.node), catalogue, factory);
  const auto missing = graph.missing.find(target.node);
  if (missing != graph.missing.end()) {
    throw Error(ErrorKind::environment, fmt::format("{}: {}", target.node->short_name(), missing->second));
  }
  const FieldRef source{graph.nodes.at(target.node), target.field};
  if (request.format.empty() && type == files_type) {
    if (!request.params.empty()) refuse("--param: files are written as they are, so there is nothing to set");
    return source;
  }
  const OpSchema& format = chosen_format(catalogue, request.format, type);
  const std::string device = format.device == "any" ? "cpu" : "";
  const NodeRef node = factory.make(format, params_of(format, request.params), {{format.inputs.front().role, source}},
                                    std::nullopt, std::nullopt, device, "", {"export", 0});
  return {node, format.outputs.front().name};
}

// Reads it once, so that damage shows before anything else is tried.
void look_at(Store& store, const Trace& trace) {
  const Manifest manifest = trace.manifest;
  if (!store.has_blobs(manifest)) return;
  try {
    store.get(manifest);
  } catch (const DamagedBlob&) {
    // In quarantine now: it will be made again.
  }
}

ExportOutcome outcome_of(const Target& target, const Files& files) {
  ExportOutcome outcome{target.node, target.field, files.format, {}};
  for (const auto& [name, bytes] : files.files) outcome.files.emplace_back(name, bytes.size());
  return outcome;
}

// Files that lie in the store as they are to be written; nothing where they do not, or are damaged: then they are made
// again.
std::optional<ExportOutcome> export_recorded(Store& store, const Trace& trace, const Target& target,
                                             const FieldRef& wanted, const ExportRequest& request) {
  const FieldManifest& recorded = trace.manifest.fields.at(target.field);
  const bool as_is = wanted.node->structure == target.node->structure && recorded.type == files_type;
  if (!as_is || !store.has_blobs(trace.manifest)) return std::nullopt;
  try {
    const Files files = files_from(store.get(recorded, trace.manifest));
    write_folder_atomically(request.to, files.files, request.replace);
    return outcome_of(target, files);
  } catch (const DamagedBlob&) {
    return std::nullopt;
  }
}

}  // namespace

ExportOutcome export_files(const RunRecord& run, const Project& project, const Catalogue& catalogue,
                           const ExportRequest& request, EvaluationObserver& observer) {
  Target target = find_target(run, request);
  const NodeRecord& node = *target.node;
  if (!node.failure.empty()) refuse(fmt::format("{} failed in this run: {}", node.short_name(), node.failure));
  refuse_occupied(request.to, request.replace);
  const auto store = Store::open(project.store_folder(), Store::Role::coordinator);
  const Trace* trace = store->find_even_without_blobs(node.key);
  if (!trace) {
    throw Error(ErrorKind::environment,
                fmt::format("the store has no value of {} any more; run the study again", node.short_name()));
  }
  target.field = chosen_field(target, request.field, trace->manifest.fields);
  const std::string type = trace->manifest.fields.at(target.field).type;
  NodeFactory factory;
  const FieldRef wanted = field_to_write(run, catalogue, target, type, request, factory);

  EvaluatorOptions options;
  options.environment = recorded_environment(run.lock);
  options.trust_versions = run.lock.value("trust_versions", false);
  options.cache_folder = project.cache_folder();
  for (const NodeRecord& recorded : run.history.nodes) {
    if (recorded.failure.empty()) options.recorded[recorded.structure] = recorded.key;
  }
  if (auto outcome = export_recorded(*store, *trace, target, wanted, request)) return *outcome;
  look_at(*store, *trace);
  const auto evaluator = Evaluator::create(std::move(options), catalogue, *store, observer);
  const InterruptGuard guard([&] { evaluator->interrupt(); });
  const Files files = files_from(evaluator->fetch(wanted));
  write_folder_atomically(request.to, files.files, request.replace);
  return outcome_of(target, files);
}

}  // namespace colonnade::host
