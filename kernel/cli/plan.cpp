#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/evaluate/system.h"
#include "kernel/study/trials.h"

namespace colonnade::host {
namespace {

using Status = NodeForecast::Status;

// More are told by op, since nobody reads them one by one.
constexpr std::size_t most_nodes_listed = 100;

struct PlanOptions : StudyOptions {
  bool every_node = false;
};

std::string_view status_name(Status status) {
  switch (status) {
    case Status::found:
      return "found";
    case Status::to_compute:
      return "to compute";
    case Status::unknown:
      return "not known yet";
  }
  return "";
}

// Sums where something may be unknown.
struct Total {
  double sum = 0, low = 0, high = 0;
  int unknown = 0;

  void add(const std::optional<CostEstimate>& part) {
    if (!part) {
      ++unknown;
      return;
    }
    sum += part->likely;
    low += part->low;
    high += part->high;
  }
  void add(const std::optional<double>& part) {
    add(part ? std::optional(CostEstimate{*part, *part, *part}) : std::nullopt);
  }
};

struct Share {
  std::string arm;
  int nodes = 0, added = 0;  // of the arm; that no arm before it has and that are not found
  Total seconds, bytes;      // of the added ones
};

// A declared group of arms: evaluations by op, each arm by itself and with what they share made once.
struct Group {
  std::string title;
  std::map<std::string, std::pair<int, int>> by_op;
};

struct Plan {
  std::string study;
  std::vector<NodeForecast> nodes;
  std::vector<Share> shares;
  std::map<const Node*, std::set<std::string>> arms_of;
  std::vector<std::string> adaptive, expected;  // arms that go on depending on values; those counted as expected
  std::vector<Group> groups;
  int found = 0;
  Total seconds, bytes;  // of all that are not found
  int workers = 1;
  std::string advice;  // how to come to know more
};

void add_share(Plan& plan, const std::string& arm, const std::vector<NodeRef>& targets,
               const std::map<const Node*, const NodeForecast*>& known, std::set<const Node*>& seen) {
  Share share{arm, 0, 0, {}, {}};
  for (const NodeRef& node : topological_order(targets)) {
    ++share.nodes;
    plan.arms_of[node.get()].insert(arm);
    const NodeForecast& forecast = *known.at(node.get());
    if (!seen.insert(node.get()).second || forecast.status == Status::found) continue;
    ++share.added;
    share.seconds.add(forecast.seconds);
    share.bytes.add(forecast.bytes);
  }
  plan.shares.push_back(share);
}

// What adaptive arms are expected to end with, or ask for first; the rest depends on values.
void add_first_steps(PreparedStudy& prepared, Plan& plan, std::map<std::string, std::vector<NodeRef>>& targets) {
  const auto& arms = prepared.study->description().arms;
  for (std::size_t arm = 0; arm < arms.size(); ++arm) {
    if (!arms[arm].adaptive) continue;
    (arms[arm].expected.empty() ? plan.adaptive : plan.expected).push_back(arms[arm].name);
    for (const std::uint64_t seed : prepared.seeds) {
      for (const MetricRef& metric : arms[arm].expected) {
        targets[arms[arm].name].push_back(prepared.study->nodes().bind(metric.from, seed).node);
      }
      if (!arms[arm].expected.empty()) continue;
      const AdaptiveStep step = prepared.study->start(arm, seed);
      for (const FieldRef& field : step.needs) targets[arms[arm].name].push_back(field.node);
      for (const MetricRef& metric : step.metrics) targets[arms[arm].name].push_back(metric.from.node);
      for (const MetricRef& file : step.files) targets[arms[arm].name].push_back(file.from.node);
    }
  }
}

Group group_of(const Json& declared, const std::map<std::string, std::vector<NodeRef>>& targets) {
  Group group;
  group.title = declared.at("title");
  const auto nodes_of = [&](const std::string& arm) {
    const auto found = targets.find(arm);
    return topological_order(found == targets.end() ? std::vector<NodeRef>() : found->second);
  };
  std::set<const Node*> already, shared;
  if (declared.at("beyond") != "") {
    for (const NodeRef& node : nodes_of(declared.at("beyond"))) already.insert(node.get());
  }
  for (const Json& arm : declared.at("arms")) {
    for (const NodeRef& node : nodes_of(arm)) {
      if (already.contains(node.get())) continue;
      auto& [alone, together] = group.by_op[node->schema->id()];
      ++alone;
      together += shared.insert(node.get()).second;
    }
  }
  return group;
}

// Nobody is told to run what they are planning.
std::string advice(const Settings& settings, const std::string& profile) {
  constexpr const char* pilot = "pilot";
  const auto& profiles = settings.profiles;
  const bool has_pilot = std::find(profiles.begin(), profiles.end(), pilot) != profiles.end();
  return has_pilot && profile != pilot ? fmt::format("; run it with --profile {} first", pilot) : "";
}

Plan make_plan(PreparedStudy& prepared) {
  Plan plan;
  plan.study = prepared.study->description().name;
  plan.workers = prepared.host.workers;
  std::map<std::string, std::vector<NodeRef>> targets;
  for (const BoundMetric& metric : bound_metrics(*prepared.study, prepared.seeds)) {
    targets[metric.arm].push_back(metric.from.node);
  }
  add_first_steps(prepared, plan, targets);
  std::vector<std::string> order;
  std::vector<NodeRef> all;
  for (const Arm& arm : prepared.study->description().arms) order.push_back(arm.name);
  if (targets.count("")) order.push_back("");
  for (const std::string& arm : order) all.insert(all.end(), targets[arm].begin(), targets[arm].end());

  const auto store = Store::open(prepared.project.store_folder(), Store::Role::reader);
  plan.nodes = forecast(all, prepared.evaluator_options({}), *prepared.catalogue, *store);
  std::map<const Node*, const NodeForecast*> known;
  for (const NodeForecast& node : plan.nodes) {
    known[node.node.get()] = &node;
    if (node.status == Status::found) {
      ++plan.found;
      continue;
    }
    plan.seconds.add(node.seconds);
    plan.bytes.add(node.bytes);
  }
  std::set<const Node*> seen;
  for (const std::string& arm : order) add_share(plan, arm, targets[arm], known, seen);
  for (const Json& group : prepared.study->description().report.value("sharing", Json::array())) {
    plan.groups.push_back(group_of(group, targets));
  }
  return plan;
}

std::string seconds_text(const Total& total, int of) {
  if (of == 0) return "0 s";
  if (total.unknown == of) return "unknown";
  return human_seconds(total.sum) + (total.unknown ? fmt::format(" + {} unknown", total.unknown) : "");
}

// Rates of the past say little of an op whose inputs are larger or smaller now: then their spread says so.
std::string range_text(const Total& total) {
  const std::string low = human_seconds(total.low), high = human_seconds(total.high);
  return low == high ? "" : fmt::format(" ({} to {} at the rates that its ops have had)", low, high);
}

std::string bytes_text(const Total& total, int of) {
  if (of == 0) return "0 bytes";
  if (total.unknown == of) return "unknown";
  return human_bytes(total.sum) + (total.unknown ? fmt::format(" + {} unknown", total.unknown) : "");
}

std::string group_text(const Group& group) {
  ScreenTable table({"op", "each arm by itself", "shared"});
  std::pair<int, int> all;
  for (const auto& [op, counts] : group.by_op) {
    table.add({op, std::to_string(counts.first), std::to_string(counts.second)});
    all.first += counts.first;
    all.second += counts.second;
  }
  table.add({"all", std::to_string(all.first), std::to_string(all.second)});
  return group.title + ", evaluations:\n" + table.text() + "\n";
}

Json group_json(const Group& group) {
  Json ops = Json::array();
  for (const auto& [op, counts] : group.by_op) {
    ops.push_back({{"op", op}, {"alone", counts.first}, {"shared", counts.second}});
  }
  return {{"title", group.title}, {"ops", ops}};
}

std::string shared_by(const std::set<std::string>& arms) {
  constexpr std::size_t most_listed = 3;
  std::string text;
  std::size_t listed = 0;
  for (const std::string& arm : arms) {
    if (listed == most_listed) return text + fmt::format(" and {} more", arms.size() - listed);
    text += (listed++ ? ", " : "") + (arm.empty() ? std::string("(shared)") : arm);
  }
  return text;
}

std::string nodes_text(const Plan& plan) {
  ScreenTable nodes({"node", "users", "arms", "state", "time", "disk"});
  for (const NodeForecast& node : plan.nodes) {
    const std::string name = node.node->label.empty()
                                 ? node.node->short_name()
                                 : fmt::format("{} ({})", node.node->short_name(), node.node->label);
    const bool found = node.status == Status::found;
    nodes.add({name, std::to_string(node.users), shared_by(plan.arms_of.at(node.node.get())),
               std::string(status_name(node.status)),
               found          ? "-"
               : node.seconds ? human_seconds(node.seconds->likely)
                              : "unknown",
               found        ? "-"
               : node.bytes ? human_bytes(*node.bytes)
                            : "unknown"});
  }
  return nodes.text();
}

std::string ops_text(const Plan& plan) {
  struct Sum {
    int nodes = 0, found = 0;
    Total seconds, bytes;
  };
  std::map<std::string, Sum> by_op;
  for (const NodeForecast& node : plan.nodes) {
    Sum& sum = by_op[node.node->schema->id()];
    ++sum.nodes;
    if (node.status == Status::found) {
      ++sum.found;
      continue;
    }
    sum.seconds.add(node.seconds);
    sum.bytes.add(node.bytes);
  }
  ScreenTable table({"op", "nodes", "found", "time", "disk"});
  for (const auto& [op, sum] : by_op) {
    const int open = sum.nodes - sum.found;
    table.add({op, std::to_string(sum.nodes), std::to_string(sum.found), seconds_text(sum.seconds, open),
               bytes_text(sum.bytes, open)});
  }
  return table.text();
}

void print_plan(const Plan& plan, bool every_node) {
  const bool listed = every_node || plan.nodes.size() <= most_nodes_listed;
  ScreenTable shares({"arm", "nodes", "adds", "time", "disk"});
  for (const Share& share : plan.shares) {
    shares.add({share.arm.empty() ? "(shared)" : share.arm, std::to_string(share.nodes), std::to_string(share.added),
                seconds_text(share.seconds, share.added), bytes_text(share.bytes, share.added)});
  }
  const int open = static_cast<int>(plan.nodes.size()) - plan.found;
  say("{}\n{}\n", listed ? nodes_text(plan) : ops_text(plan), shares.text());
  for (const Group& group : plan.groups) say("{}", group_text(group));
  say("{}: {} nodes, {} found, {} to compute{}\n", plan.study, plan.nodes.size(), plan.found, open,
      listed ? "" : "; --nodes lists them");
  say("time: {} of computing{}; {} workers share it\n", seconds_text(plan.seconds, open), range_text(plan.seconds),
      plan.workers);
  say("disk: {}\n", bytes_text(plan.bytes, open));
  if (plan.seconds.unknown) say("what is unknown has not been computed on this machine yet{}\n", plan.advice);
  for (const std::string& arm : plan.adaptive)
    say("arm {} goes on depending on values; only its first step is counted\n", arm);
  if (!plan.expected.empty()) {
    say("{} arms go on depending on values and are counted as the study expects them to end, without what they look at "
        "on the way: {}\n",
        plan.expected.size(), fmt::join(plan.expected, ", "));
  }
}

Json total_json(const Total& total) {
  return {{"known", total.sum}, {"unknown", total.unknown}};
}

void print_plan_json(const Plan& plan) {
  Json nodes = Json::array();
  for (const NodeForecast& node : plan.nodes) {
    nodes.push_back({{"node", node.node->structure.hex()},
                     {"op", node.node->schema->id()},
                     {"label", node.node->label},
                     {"users", node.users},
                     {"arms", plan.arms_of.at(node.node.get())},
                     {"state", status_name(node.status)},
                     {"seconds", node.seconds ? Json(node.seconds->likely) : Json()},
                     {"bytes", node.bytes ? Json(*node.bytes) : Json()}});
  }
  Json arms = Json::array();
  for (const Share& share : plan.shares) {
    arms.push_back({{"arm", share.arm},
                    {"nodes", share.nodes},
                    {"adds", share.added},
                    {"seconds", total_json(share.seconds)},
                    {"bytes", total_json(share.bytes)}});
  }
  Json groups = Json::array();
  for (const Group& group : plan.groups) groups.push_back(group_json(group));
  Json seconds = total_json(plan.seconds);
  seconds.update({{"low", plan.seconds.low}, {"high", plan.seconds.high}});
  print_json({{"study", plan.study},
              {"nodes", nodes},
              {"arms", arms},
              {"adaptive", plan.adaptive},
              {"expected", plan.expected},
              {"groups", groups},
              {"found", plan.found},
              {"workers", plan.workers},
              {"seconds", seconds},
              {"bytes", total_json(plan.bytes)}});
}

int plan(const PlanOptions& options) {
  PreparedStudy prepared = options.prepare(options.find_or_create());
  Plan made = make_plan(prepared);
  made.advice = advice(prepared.settings, options.profile);
  if (options.json) {
    print_plan_json(made);
  } else {
    print_plan(made, options.every_node);
  }
  return 0;
}

}  // namespace

void add_plan_command(Commands& commands) {
  const auto options = std::make_shared<PlanOptions>();
  CLI::App& command =
      commands.add("plan", "Show what a run would compute, find and share, and what it would cost; evaluates nothing",
                   "colonnade plan studies/pillars --profile quick_research", [options] { return plan(*options); });
  options->declare_study(command);
  command.add_flag("--nodes", options->every_node,
                   fmt::format("List every node, also where there are more than {}", most_nodes_listed));
  commands.accept_settings_as_options("plan");
}

}  // namespace colonnade::host
