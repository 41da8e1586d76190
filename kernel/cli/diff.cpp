#include "kernel/study/diff.h"

#include <fmt/format.h>

#include <memory>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"

namespace colonnade::host {
namespace {

constexpr std::size_t most_value_text = 50;

struct DiffOptions : CommonOptions {
  std::string first, second;
  bool all = false;
};

void print_parts(const char* title, const std::vector<KeyDifference>& differences) {
  if (differences.empty()) return;
  ScreenTable table({title, "first", "second"});
  for (const KeyDifference& difference : differences) {
    table.add({difference.part, short_text(difference.before, most_value_text),
               short_text(difference.after, most_value_text)});
  }
  say("{}\n", table.text());
}

void print_nodes(const RunDifference& difference) {
  ScreenTable table({"first", "second", "part", "in first", "in second"});
  int behind = 0;
  for (const NodePair& pair : difference.nodes) {
    if (pair.only_inputs) {
      ++behind;
      continue;
    }
    const std::string first = pair.first ? pair.first->short_name() : "-";
    const std::string second = pair.second ? pair.second->short_name() : "-";
    if (pair.differences.empty()) table.add({first, second, pair.first && pair.second ? "" : "only in one", "", ""});
    for (const KeyDifference& part : pair.differences) {
      table.add({first, second, part.part, short_text(part.before, most_value_text),
                 short_text(part.after, most_value_text)});
    }
  }
  for (const NodePair& pair : difference.other_contents) {
    table.add({pair.first->short_name(), pair.second->short_name(), "one key, two values", "", ""});
  }
  say("{} nodes are the same\n", difference.same_nodes);
  if (!table.empty()) say("{}", table.text());
  if (behind > 0) say("{} further nodes differ only because their inputs do\n", behind);
  say("\n");
}

void print_metrics(const RunDifference& difference, bool all) {
  ScreenTable table({"arm", "seed", "metric", "first", "second", "change"});
  int same = 0;
  for (const MetricPair& metric : difference.metrics) {
    if (metric.same && !all) {
      ++same;
      continue;
    }
    const bool both = metric.first && metric.second;
    const bool shared = metric.arm.empty();
    table.add({shared ? "(shared)" : metric.arm, shared ? "" : std::to_string(metric.seed), metric.name,
               metric.first                ? short_number(*metric.first)
               : metric.first_text.empty() ? "-"
                                           : metric.first_text,
               metric.second                ? short_number(*metric.second)
               : metric.second_text.empty() ? "-"
                                            : metric.second_text,
               both ? fmt::format("{:+.6g}", *metric.second - *metric.first) : ""});
  }
  if (!table.empty()) say("{}", table.text());
  if (same > 0) say("{} metrics are identical\n", same);
}

Json parts_json(const std::vector<KeyDifference>& differences) {
  Json list = Json::array();
  for (const KeyDifference& d : differences)
    list.push_back({{"part", d.part}, {"first", d.before}, {"second", d.after}});
  return list;
}

Json node_json(const NodeRecord* node) {
  return node ? Json{{"node", node->structure.hex()}, {"op", node->op}, {"label", node->label}} : Json();
}

void print_difference_json(const RunRecord& first, const RunRecord& second, const RunDifference& difference) {
  Json nodes = Json::array(), metrics = Json::array();
  for (const auto* list : {&difference.nodes, &difference.other_contents}) {
    for (const NodePair& pair : *list) {
      nodes.push_back({{"first", node_json(pair.first)},
                       {"second", node_json(pair.second)},
                       {"differences", parts_json(pair.differences)},
                       {"only_inputs", pair.only_inputs},
                       {"same_key", list == &difference.other_contents}});
    }
  }
  for (const MetricPair& metric : difference.metrics) {
    const bool shared = metric.arm.empty();
    metrics.push_back({{"arm", shared ? Json() : Json(metric.arm)},
                       {"seed", shared ? Json() : Json(metric.seed)},
                       {"metric", metric.name},
                       {"first", metric.first ? Json(*metric.first) : Json(metric.first_text)},
                       {"second", metric.second ? Json(*metric.second) : Json(metric.second_text)},
                       {"same", metric.same}});
  }
  print_json({{"first", first.folder.name()},
              {"second", second.folder.name()},
              {"settings", parts_json(difference.settings)},
              {"code", parts_json(difference.code)},
              {"environment", parts_json(difference.environment)},
              {"same_nodes", difference.same_nodes},
              {"nodes", nodes},
              {"metrics", metrics}});
}

int diff(const DiffOptions& options) {
  const Project project = options.find();
  const RunRecord first = read_run(resolve_run(project.runs_folder(), options.first));
  const RunRecord second = read_run(resolve_run(project.runs_folder(), options.second));
  const auto store = Store::open(project.store_folder(), Store::Role::reader);
  const RunDifference difference = compare_runs(first, second, *store);
  if (options.json) {
    print_difference_json(first, second, difference);
    return 0;
  }
  say("first:  {}\nsecond: {}\n\n", first.folder.name(), second.folder.name());
  print_parts("setting", difference.settings);
  print_parts("code", difference.code);
  print_parts("environment", difference.environment);
  print_nodes(difference);
  print_metrics(difference, options.all);
  return 0;
}

}  // namespace

void add_diff_command(Commands& commands) {
  const auto options = std::make_shared<DiffOptions>();
  CLI::App& command = commands.add("diff", "Compare two runs: settings, code, nodes, metrics",
                                   "colonnade diff 1a2b3c4d last", [options] { return diff(*options); });
  command.add_option("first", options->first, "A run: its name, id, folder, its study's name, or 'last'")->required();
  command.add_option("second", options->second, "Another")->required();
  command.add_flag("--all", options->all, "List metrics that are identical too");
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
