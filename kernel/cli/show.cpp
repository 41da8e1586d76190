#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/evaluate/system.h"
#include "kernel/study/collect.h"

namespace colonnade::host {
namespace {

constexpr std::size_t most_param_text = 100;
constexpr std::size_t most_scalar_text = 60;
constexpr std::size_t most_messages = 10;
constexpr const char* record_type = "record";

struct ShowOptions : CommonOptions {
  std::string run, node;
};

std::string state_of(const NodeRecord& node) {
  if (!node.failure.empty()) return "failed";
  return node.computed ? "computed" : "found";
}

// A field in a few words: a scalar's value, else its type.
std::string field_text(const FieldManifest& field) {
  if (field.type == "scalar" && field.document.is_object()) {
    return short_text(field.document.value("value", Json()), most_scalar_text) + " " + field.document.value("unit", "");
  }
  std::string text = field.type;
  if (!field.tensors.empty()) {
    std::uint64_t bytes = 0;
    for (const auto& [name, blob] : field.tensors) bytes += blob.bytes;
    text += fmt::format(", {} tensors, {}", field.tensors.size(), human_bytes(static_cast<double>(bytes)));
  }
  return text;
}

Json node_json(const NodeRecord& node, const Store& store) {
  Json inputs = Json::array();
  for (const auto& input : node.inputs) {
    inputs.push_back({{"role", input.role}, {"node", input.node.hex()}, {"field", input.field}});
  }
  Json fields = Json::object();
  const Trace* trace = store.find_even_without_blobs(node.key);
  for (const auto& [name, content] : node.contents) {
    fields[name] = {{"content", content.hex()}};
    if (!trace || !trace->manifest.fields.count(name)) continue;
    const FieldManifest& field = trace->manifest.fields.at(name);
    fields[name]["type"] = field.type;
    if (field.type == record_type) fields[name]["record"] = field.document;
  }
  return {{"node", node.structure.hex()}, {"op", node.op},           {"label", node.label},     {"where", node.where},
          {"params", node.params},        {"inputs", inputs},        {"state", state_of(node)}, {"key", node.key.hex()},
          {"seconds", node.seconds},      {"failure", node.failure}, {"fields", fields}};
}

void show_node(const RunRecord& run, const NodeRecord& node, Store& store) {
  say("{}  {}{}\n", node.short_name(), node.op, node.label.empty() ? "" : "  (" + node.label + ")");
  say("written at  {}\nstate       {}, {}\nstructure   {}\nkey         {}\n", node.where, state_of(node),
      human_seconds(node.seconds), node.structure.hex(), node.key.hex());
  if (node.seed) say("seed        {}\n", *node.seed);
  if (!node.failure.empty()) say("failure     {}\n", node.failure);
  ScreenTable params({"parameter", "value"});
  for (const auto& [name, value] : node.params.items()) params.add({name, short_text(value, most_param_text)});
  if (!params.empty()) say("\n{}", params.text());
  ScreenTable inputs({"input", "from", "field", "content"});
  for (const auto& input : node.inputs) {
    const NodeRecord* from = run.history.find(input.node);
    const bool known = from && from->contents.count(input.field);
    inputs.add({input.role, from ? from->short_name() : input.node.short_hex(), input.field,
                known ? from->contents.at(input.field).short_hex() : "-"});
  }
  if (!inputs.empty()) say("\n{}", inputs.text());
  ScreenTable fields({"field", "content", "value"});
  const Trace* trace = store.find_even_without_blobs(node.key);
  for (const auto& [name, content] : node.contents) {
    const bool known = trace && trace->manifest.fields.count(name);
    fields.add({name, content.short_hex(), known ? field_text(trace->manifest.fields.at(name)) : "not in the store"});
  }
  if (!fields.empty()) say("\n{}", fields.text());
  for (const auto& [name, content] : node.contents) {
    if (!trace || !trace->manifest.fields.count(name)) continue;
    const FieldManifest& field = trace->manifest.fields.at(name);
    if (field.type != record_type) continue;
    say("\n{}\n", name);
    print_json(field.document);
  }
  if (trace && !store.has_blobs(trace->manifest)) say("its bytes are not kept: they are made again when needed\n");
  // A worker's log is of all its nodes: worth a look only where something went wrong.
}

void print_results(const RunRecord& run, Store& store) {
  ScreenTable table({"arm", "seed", "metric", "value"});
  const auto add = [&](const std::string& arm, const std::string& seed, const std::vector<MetricRecord>& metrics) {
    for (const MetricRecord& metric : metrics) {
      const NodeRecord* node = run.history.find(metric.node);
      const Trace* trace = node ? store.find_even_without_blobs(node->key) : nullptr;
      const bool known = trace && trace->manifest.fields.count(metric.field);
      const std::string value = known                            ? field_text(trace->manifest.fields.at(metric.field))
                                : node && !node->failure.empty() ? "failed"
                                                                 : "not known yet";
      table.add({arm, seed, metric.name, value});
    }
  };
  for (const TrialRecord& trial : run.history.trials) {
    const std::string seed = std::to_string(trial.seed);
    if (!trial.failure.empty()) table.add({trial.arm, seed, "failed", short_text(trial.failure, most_param_text)});
    add(trial.arm, seed, trial.metrics);
    add(trial.arm, seed, trial.files);
  }
  add("(shared)", "", run.history.shared);
  add("(shared)", "", run.history.shared_files);
  if (!table.empty()) say("\n{}", table.text());
}

void show_run(const RunRecord& run, Store& store) {
  const RunHistory& history = run.history;
  say("{}  {}\nstarted {}, last event {}, {} session{}\n", run.folder.name(), state_name(run.state),
      human_time(history.started), human_time(history.last), history.sessions, history.sessions == 1 ? "" : "s");
  const auto computed =
      std::count_if(history.nodes.begin(), history.nodes.end(), [](const auto& n) { return n.computed; });
  double seconds = 0;
  for (const NodeRecord& node : history.nodes) seconds += node.computed ? node.seconds : 0;
  say("{} nodes, {} computed in {}\n", history.nodes.size(), computed, human_seconds(seconds));
  ScreenTable nodes({"node", "label", "state", "time", "inputs"});
  for (const NodeRecord* node : reached_nodes(history)) {
    std::vector<std::string> inputs;
    for (const auto& input : node->inputs) {
      const NodeRecord* from = history.find(input.node);
      inputs.push_back(from ? from->short_name() : input.node.short_hex());
    }
    nodes.add({node->short_name(), node->label, state_of(*node), human_seconds(node->seconds),
               fmt::format("{}", fmt::join(inputs, ", "))});
  }
  if (!nodes.empty()) say("\n{}", nodes.text());
  print_results(run, store);
  const std::size_t first = history.messages.size() > most_messages ? history.messages.size() - most_messages : 0;
  if (!history.messages.empty()) say("\nlast messages:\n");
  for (std::size_t i = first; i < history.messages.size(); ++i) say("  {}\n", history.messages[i]);
  for (const std::string& line : history.nondeterminism) say("nondeterminism: {}\n", line);
  for (const std::string& line : run.damage) say("{}\n", line);
}

int show(const ShowOptions& options) {
  const FoundProject found = options.find_for_run(options.run);
  const Project& project = found.project;
  const RunRecord run = read_run(resolve_run(project.runs_folder(), options.run));
  const auto store = Store::open(project.store_folder(), Store::Role::reader);
  if (!options.node.empty()) {
    const NodeRecord& node = resolve_node(run.history, options.node);
    if (options.json) {
      print_json(node_json(node, *store));
    } else {
      show_node(run, node, *store);
    }
    return 0;
  }
  if (!options.json) {
    show_run(run, *store);
    return 0;
  }
  Json nodes = Json::array();
  for (const NodeRecord* node : reached_nodes(run.history)) nodes.push_back(node_json(*node, *store));
  Json trials = Json::array();
  for (const TrialRecord& trial : run.history.trials) {
    trials.push_back({{"arm", trial.arm},
                      {"seed", trial.seed},
                      {"point", trial.point},
                      {"metrics", metrics_to_json(trial.metrics)},
                      {"files", metrics_to_json(trial.files)},
                      {"failure", trial.failure}});
  }
  print_json({{"run", run.folder.name()},
              {"state", state_name(run.state)},
              {"nodes", nodes},
              {"trials", trials},
              {"shared", metrics_to_json(run.history.shared)},
              {"shared_files", metrics_to_json(run.history.shared_files)},
              {"messages", run.history.messages},
              {"damage", run.damage}});
  return 0;
}

}  // namespace

void add_show_command(Commands& commands) {
  const auto options = std::make_shared<ShowOptions>();
  CLI::App& command =
      commands.add("show", "Show a run's arms, nodes and results, or one of its nodes",
                   "colonnade show last base     (the node with that label)", [options] { return show(*options); });
  command.add_option("run", options->run, "A run: its name, id, folder, its study's name, or 'last'")->required();
  command.add_option("node", options->node, "A node: its label, its op, or the first digits of its structure");
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
