#include <fmt/format.h>

#include <map>
#include <memory>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/graph/keys.h"
#include "kernel/study/record.h"

namespace colonnade::host {
namespace {

constexpr std::size_t most_value_text = 70;

struct WhyOptions : CommonOptions {
  std::string run, node;
};

struct Nearest {
  const Trace* trace = nullptr;
  std::vector<KeyDifference> differences;
};

// Of the op's traces from before this one: the one whose key differs in the fewest parts, the newest of those.
Nearest nearest_trace(const Store& store, const Trace& trace) {
  Nearest nearest;
  for (const Trace* other : store.traces_of(trace.op)) {
    if (other->key == trace.key || other->finished > trace.finished) continue;
    auto differences = compare_keys(other->key_record, trace.key_record);
    if (nearest.trace && differences.size() > nearest.differences.size()) continue;
    nearest = {other, std::move(differences)};
  }
  return nearest;
}

// An input's content means more to people as the node it comes from.
std::string explain(const KeyDifference& difference, const NodeRecord& node, const RunHistory& history) {
  const std::string inputs = "inputs.";
  if (!difference.part.starts_with(inputs)) return "";
  std::map<std::string, int> seen;
  for (const NodeRecord::Input& input : node.inputs) {
    const int occurrence = ++seen[input.role];
    if (difference.part != inputs + numbered_role(input.role, occurrence)) continue;
    const NodeRecord* from = history.find(input.node);
    if (from)
      return fmt::format("field '{}' of {}, which was {}", input.field, from->short_name(),
                         from->computed ? "computed too: ask why of it" : "found");
  }
  return "";
}

int why(const WhyOptions& options) {
  const Project project = options.find();
  const RunRecord run = read_run(resolve_run(project.runs_folder(), options.run));
  const NodeRecord& node = resolve_node(run.history, options.node);
  const auto store = Store::open(project.store_folder(), Store::Role::reader);
  const Trace* trace = store->find_even_without_blobs(node.key);
  const Nearest nearest = trace ? nearest_trace(*store, *trace) : Nearest{};
  if (options.json) {
    Json differences = Json::array();
    for (const KeyDifference& difference : nearest.differences) {
      differences.push_back({{"part", difference.part}, {"before", difference.before}, {"now", difference.after}});
    }
    print_json({{"node", node.structure.hex()},
                {"op", node.op},
                {"computed", node.computed},
                {"failure", node.failure},
                {"nearest", nearest.trace ? Json(nearest.trace->key.hex()) : Json()},
                {"differences", differences}});
    return 0;
  }
  if (!node.failure.empty()) {
    say("{} failed: {}\n", node.short_name(), node.failure);
    return 0;
  }
  say("{} was {} by this run\n", node.short_name(), node.computed ? "computed" : "found, not computed,");
  if (!trace) {
    say("the store has no record of it any more\n");
  } else if (!nearest.trace) {
    say("{} {} had not been evaluated in this project before\n", node.computed ? "because" : "when it was computed,",
        node.op);
  } else {
    say("the nearest earlier evaluation of {} ({}) differs in:\n", node.op, human_time(nearest.trace->finished));
    ScreenTable table({"part", "then", "here", ""});
    for (const KeyDifference& difference : nearest.differences) {
      table.add({difference.part, short_text(difference.before, most_value_text),
                 short_text(difference.after, most_value_text), explain(difference, node, run.history)});
    }
    say("{}", table.text());
  }
  return 0;
}

}  // namespace

void add_why_command(Commands& commands) {
  const auto options = std::make_shared<WhyOptions>();
  CLI::App& command =
      commands.add("why", "Say why a node was computed: which part of its key changed since the nearest earlier one",
                   "colonnade why last base", [options] { return why(*options); });
  command.add_option("run", options->run, "A run: its name, id, folder, its study's name, or 'last'")->required();
  command.add_option("node", options->node, "A node: its label, its op, or the first digits of its structure")
      ->required();
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
