#include "kernel/study/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "colonnade/error.h"
#include "kernel/evaluate/key_sources.h"
#include "kernel/study/collect.h"
#include "kernel/study/hints.h"
#include "kernel/study/interrupt.h"
#include "kernel/study/lock.h"
#include "kernel/study/replay_pass.h"
#include "kernel/study/scratch_stores.h"

namespace colonnade::host {
namespace {

std::vector<const NodeRecord*> nodes_to_replay(const RunRecord& run, const std::string& arm) {
  std::vector<std::string> arms;
  for (const Json& known : run.lock.at("study").at("arms")) arms.push_back(known.at("name"));
  if (!arm.empty() && std::find(arms.begin(), arms.end(), arm) == arms.end()) {
    std::string list;
    for (const std::string& name : arms) list += (list.empty() ? "" : ", ") + name;
    throw Error(ErrorKind::usage, fmt::format("--arm {}: the run has no such arm{}", arm,
                                              then(did_you_mean(arm, arms), "arms: " + list)));
  }
  std::vector<const NodeRecord*> order = reached_nodes(run.history, arm);
  // What failed in the run has no value to compare with.
  std::erase_if(order, [](const NodeRecord* node) { return !node->failure.empty(); });
  if (order.empty()) {
    throw Error(ErrorKind::usage,
                fmt::format("{}: nothing to replay: the run has evaluated nothing yet", run.folder.name()));
  }
  return order;
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::identical:
      return "identical";
    case Verdict::within_epsilon:
      return "within epsilon";
    case Verdict::measured:
      return "measured";
    case Verdict::stochastic:
      return "stochastic";
    case Verdict::diverged:
      return "diverged";
    case Verdict::inherited:
      return "inherited";
    case Verdict::failed:
      return "failed";
    case Verdict::not_evaluated:
      return "not evaluated";
  }
  return "";
}

bool ReplayFindings::agrees() const {
  return damage.empty() && report.differences.empty() &&
         count(Verdict::diverged) + count(Verdict::inherited) + count(Verdict::failed) +
                 count(Verdict::not_evaluated) ==
             0;
}

int ReplayFindings::count(Verdict verdict) const {
  return static_cast<int>(
      std::count_if(nodes.begin(), nodes.end(), [&](const NodeVerdict& node) { return node.verdict == verdict; }));
}

ReplayFindings replay_run(const RunRecord& run, const Project& project, const Catalogue& catalogue,
                          const ReplayOptions& options) {
  const auto order = nodes_to_replay(run, options.arm);
  NodeFactory factory;
  const RebuiltGraph graph = rebuild_graph(run.history, order, catalogue, factory);
  const auto recorded = Store::open(project.store_folder(), Store::Role::reader);
  EvaluatorOptions evaluator;
  evaluator.workers = options.workers;
  evaluator.environment = recorded_environment(run.lock);
  evaluator.trust_versions = run.lock.value("trust_versions", false);
  evaluator.cache_folder = project.cache_folder();

  ReplayFindings findings;
  const KeySources sources = make_key_sources(catalogue, project.cache_folder());
  findings.changes = find_changes(run, order, graph, *recorded, evaluator.environment, sources);
  findings.damage = find_damage(order, *recorded);

  ScratchStores scratch(project.root / ".colonnade" / "replay");
  evaluator.log_folder = scratch.logs();
  Replayer replayer(graph, order, *recorded, catalogue, evaluator, options.progress);
  std::unique_ptr<Store> before;
  while (!replayer.done()) {
    std::unique_ptr<Store> store = scratch.next();
    if (!replayer.pass(*store, before.get())) break;
    before = std::move(store);
  }
  findings.nodes = replayer.verdicts();
  RunHistory evaluated = run.history;
  for (NodeRecord& node : evaluated.nodes) node.key = replayer.key_of(node.structure);
  std::vector<ValueSource> values = {{&run.history, recorded.get()}};
  if (before) values.emplace_back(&evaluated, before.get());
  findings.report = check_report(run, values, catalogue);
  for (const NodeVerdict& node : findings.nodes) {
    const bool own = node.verdict == Verdict::diverged || node.verdict == Verdict::failed;
    if (own && !findings.first_diverged) findings.first_diverged = &node;
  }
  return findings;
}

}  // namespace colonnade::host
