#include "kernel/study/record.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "colonnade/error.h"
#include "kernel/graph/keys.h"
#include "kernel/study/hints.h"

namespace colonnade::host {
namespace {

constexpr std::size_t short_digits = 6;

std::optional<std::uint64_t> optional_number(const Json& event, const char* name) {
  const auto found = event.find(name);
  if (found == event.end() || found->is_null()) return std::nullopt;
  return found->get<std::uint64_t>();
}

NodeRecord read_node(const Json& event) {
  NodeRecord node;
  node.structure = Hash::from_hex(event.at("node").get<std::string>());
  node.op = event.at("op").get<std::string>();
  node.params = event.at("params");
  for (const Json& input : event.at("inputs")) {
    node.inputs.push_back({input.at(0), Hash::from_hex(input.at(1).get<std::string>()), input.at(2)});
  }
  node.seed = optional_number(event, "seed");
  node.stream = optional_number(event, "stream");
  node.device = event.value("device", "");
  node.label = event.value("label", "");
  node.where = event.value("where", "");
  node.computed = event.at("event") == "computed";
  node.failure = event.value("message", "");
  if (event.contains("origin")) node.origin = Hash::from_hex(event.at("origin").get<std::string>());
  if (event.contains("key")) node.key = Hash::from_hex(event.at("key").get<std::string>());
  const Json contents = event.value("contents", Json::object());
  for (const auto& [field, content] : contents.items()) {
    node.contents[field] = Hash::from_hex(content.get<std::string>());
  }
  node.seconds = event.value("seconds", 0.0);
  return node;
}

std::vector<MetricRecord> read_metrics(const Json& list) {
  std::vector<MetricRecord> metrics;
  for (const Json& item : list) {
    metrics.push_back({item.at(0), Hash::from_hex(item.at(1).get<std::string>()), item.at(2)});
  }
  return metrics;
}

void apply_node(RunHistory& history, const Json& event) {
  NodeRecord node = read_node(event);
  const auto [place, is_new] = history.index.emplace(node.structure, history.nodes.size());
  if (is_new) {
    history.nodes.push_back(std::move(node));
    return;
  }
  NodeRecord& known = history.nodes[place->second];
  // A node that this run computed before it was interrupted is found when it goes on.
  const bool computed_earlier = known.computed && !node.computed && known.key == node.key && node.failure.empty();
  if (!computed_earlier) known = std::move(node);
}

void apply_trial(RunHistory& history, const Json& event) {
  TrialRecord trial;
  trial.arm = event.at("arm").get<std::string>();
  trial.seed = event.at("seed").get<std::uint64_t>();
  trial.point = event.value("point", Json::object());
  trial.metrics = read_metrics(event.at("metrics"));
  trial.files = read_metrics(event.value("files", Json::array()));
  const std::vector<MetricRecord> output = read_metrics(event.value("output", Json::array()));
  if (!output.empty()) trial.output = output.front();
  trial.failure = event.value("failure", "");
  for (TrialRecord& known : history.trials) {
    if (known.arm != trial.arm || known.seed != trial.seed) continue;
    known = std::move(trial);
    return;
  }
  history.trials.push_back(std::move(trial));
}

void apply_decision(RunHistory& history, const Json& event) {
  DecisionRecord decision{event.at("arm"), event.at("seed"), event.at("step"), read_metrics(event.at("needs"))};
  for (DecisionRecord& known : history.decisions) {
    if (known.arm != decision.arm || known.seed != decision.seed || known.step != decision.step) continue;
    known = std::move(decision);
    return;
  }
  history.decisions.push_back(std::move(decision));
}

void apply_session(RunHistory& history, const Json& event) {
  if (history.sessions++ == 0) history.started = event.value("time", std::int64_t{0});
  history.arms = event.value("arms", std::vector<std::string>());
  history.plugins.clear();
  for (const Json& plugin : event.value("plugins", Json::array())) history.plugins.push_back(plugin.get<std::string>());
  history.study_folder = event.value("study_folder", "");
  history.cpu = event.value("cpu", "");
  history.finished = false;
}

}  // namespace

std::string NodeRecord::short_name() const {
  return fmt::format("{} {}", op_name(), structure.hex().substr(0, short_digits));
}

std::string_view state_name(RunState state) {
  switch (state) {
    case RunState::running:
      return "running";
    case RunState::finished:
      return "finished";
    case RunState::incomplete:
      return "incomplete";
  }
  return "";
}

void RunHistory::apply(const Json& event) {
  const std::string kind = event.value("event", "");
  last = event.value("time", last);
  if (kind == "started" || kind == "continued") return apply_session(*this, event);
  if (kind == "found" || kind == "computed" || kind == "failed") return apply_node(*this, event);
  if (kind == "trial") return apply_trial(*this, event);
  if (kind == "decision") return apply_decision(*this, event);
  if (kind == "shared") {
    shared = read_metrics(event.at("metrics"));
    shared_files = read_metrics(event.value("files", Json::array()));
  }
  if (kind == "message") messages.push_back(event.at("text"));
  if (kind == "nondeterminism") nondeterminism.push_back(event.at("text"));
  if (kind == "code") code[event.at("plugin")] = event.at("code");
  if (kind == "finished") {
    finished = true;
    failed_trials = event.at("failed");
    table = event.at("table");
  }
}

const NodeRecord* RunHistory::find(const Hash& structure) const {
  const auto found = index.find(structure);
  return found == index.end() ? nullptr : &nodes[found->second];
}

const TrialRecord* RunHistory::find_trial(const std::string& arm, std::uint64_t seed) const {
  for (const TrialRecord& trial : trials) {
    if (trial.arm == arm && trial.seed == seed) return &trial;
  }
  return nullptr;
}

RunRecord read_run(const RunFolder& folder) {
  const bool renamed = !is_run_name(folder.name());
  RunRecord run{folder,
                renamed ? read_lock_of_renamed(folder.lock()) : read_lock(folder.lock(), folder.id()),
                {},
                RunState::incomplete,
                {}};
  JournalContents contents = read_journal(folder.journal());
  run.damage = std::move(contents.damage);
  for (const Json& event : contents.events) run.history.apply(event);
  if (renamed) {
    const std::string name = run_name(run.lock.at("study").at("name"), run.history.started, lock_id(run.lock));
    run.damage.push_back(fmt::format("the run's folder was renamed to '{}'; its name was '{}'", folder.name(), name));
  }
  if (run.history.finished) run.state = RunState::finished;
  if (is_live(folder.journal())) run.state = RunState::running;
  return run;
}

const NodeRecord& resolve_node(const RunHistory& history, const std::string& name) {
  std::vector<const NodeRecord*> matches;
  std::set<std::string> names;
  for (const NodeRecord& node : history.nodes) {
    const bool by_digits = node.structure.hex().starts_with(name) || node.key.hex().starts_with(name);
    const bool by_name = node.label == name || node.op == name || node.op_name() == name || node.short_name() == name;
    if (by_name || (by_digits && !name.empty())) matches.push_back(&node);
    names.insert({node.label, node.op_name(), node.op, node.short_name()});
  }
  if (matches.size() == 1) return *matches.front();
  if (matches.empty()) {
    names.erase("");
    throw Error(ErrorKind::usage, fmt::format("{}: this run has no such node{}", name,
                                              then(did_you_mean(name, {names.begin(), names.end()}),
                                                   "a node is named by its label, its op, or the first digits of its "
                                                   "structure")));
  }
  constexpr std::size_t most_listed = 12;
  std::vector<std::string> alike;
  for (const NodeRecord* node : matches) {
    alike.push_back(node->short_name() + (node->label.empty() || node->label == name ? "" : " (" + node->label + ")"));
  }
  const std::size_t left_out = alike.size() > most_listed ? alike.size() - most_listed : 0;
  alike.resize(alike.size() - left_out);
  throw Error(ErrorKind::usage,
              fmt::format("{}: several nodes match: {}{}; use the digits of one, or a label", name,
                          fmt::join(alike, ", "), left_out ? fmt::format(" and {} more", left_out) : ""));
}

Json node_event(const char* event, const Node& node) {
  Json inputs = Json::array();
  for (const NodeInput& input : node.inputs) {
    inputs.push_back({input.role, input.from.node->structure.hex(), input.from.field});
  }
  Json result = {{"event", event},
                 {"node", node.structure.hex()},
                 {"op", node.schema->id()},
                 {"params", node.params},
                 {"inputs", std::move(inputs)},
                 {"label", node.label},
                 {"where", fmt::format("{}:{}", node.where.file, node.where.line)}};
  if (node.seed && !node.seed->symbolic) result["seed"] = node.seed->value;
  if (node.stream) result["stream"] = *node.stream;
  if (!node.device.empty()) result["device"] = node.device;
  return result;
}

Json metrics_to_json(const std::vector<MetricRecord>& metrics) {
  Json list = Json::array();
  for (const MetricRecord& metric : metrics) list.push_back({metric.name, metric.node.hex(), metric.field});
  return list;
}

MetricRecord metric_record(const std::string& name, const FieldRef& field) {
  return {name, field.node->structure, field.field};
}

}  // namespace colonnade::host
