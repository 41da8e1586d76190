#include "kernel/study/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"

namespace colonnade::host {
namespace {

struct ReplayCommandOptions : CommonOptions {
  std::string run, arm;
  int workers = 0;
};

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

std::string detail_of(const NodeVerdict& node) {
  if (!node.message.empty()) return first_line(node.message);
  std::string detail;
  for (const FieldVerdict& field : node.fields) {
    if (field.detail.empty()) continue;
    detail += (detail.empty() ? "" : "; ") + field.field + ": " + field.detail;
  }
  return detail;
}

std::string summary(const ReplayFindings& findings) {
  std::string text;
  for (const Verdict verdict : {Verdict::identical, Verdict::within_epsilon, Verdict::measured, Verdict::stochastic,
                                Verdict::diverged, Verdict::inherited, Verdict::failed, Verdict::not_evaluated}) {
    const int count = findings.count(verdict);
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, verdict_name(verdict));
  }
  return text;
}

void print_findings(const RunRecord& run, const ReplayFindings& findings) {
  for (const Change& change : findings.changes) say("changed: {}\n", change.text);
  for (const Damage& damage : findings.damage) say("damaged: {}\n", damage.text);
  ScreenTable table({"node", "label", "verdict", "detail"});
  for (const NodeVerdict& node : findings.nodes) {
    table.add({node.node->short_name(), node.node->label, std::string(verdict_name(node.verdict)), detail_of(node)});
  }
  say("{}\n{}: {}\n", table.text(), run.folder.name(), summary(findings));
  if (const NodeVerdict* first = findings.first_diverged) {
    say("first to diverge: {} ({}), written at {}: {}\n", first->node->short_name(), first->node->op,
        first->node->where, detail_of(*first));
  }
  for (const ReportDifference& file : findings.report.differences) say("report: {}\n", file.text);
  if (!findings.report.skipped.empty()) say("report: its files were not compared: {}\n", findings.report.skipped);
  if (findings.agrees()) say("replayed: every value that can be compared came out as recorded\n");
}

void print_findings_json(const RunRecord& run, const ReplayFindings& findings) {
  Json changes = Json::array(), damage = Json::array(), nodes = Json::array(), files = Json::array();
  for (const ReportDifference& file : findings.report.differences) {
    files.push_back({{"file", file.file}, {"line", file.line}, {"text", file.text}});
  }
  for (const Change& change : findings.changes) changes.push_back({{"part", change.part}, {"text", change.text}});
  for (const Damage& d : findings.damage) {
    damage.push_back({{"node", d.node->structure.hex()}, {"field", d.field}, {"tensor", d.tensor}, {"text", d.text}});
  }
  for (const NodeVerdict& node : findings.nodes) {
    Json fields = Json::array();
    for (const FieldVerdict& field : node.fields) {
      fields.push_back({{"field", field.field}, {"verdict", verdict_name(field.verdict)}, {"detail", field.detail}});
    }
    nodes.push_back({{"node", node.node->structure.hex()},
                     {"op", node.node->op},
                     {"label", node.node->label},
                     {"verdict", verdict_name(node.verdict)},
                     {"fields", fields},
                     {"message", node.message},
                     {"seconds", node.seconds}});
  }
  print_json(
      {{"run", run.folder.name()},
       {"changes", changes},
       {"damage", damage},
       {"nodes", nodes},
       {"first_diverged", findings.first_diverged ? Json(findings.first_diverged->node->structure.hex()) : Json()},
       {"report", {{"differences", files}, {"skipped", findings.report.skipped}}},
       {"agrees", findings.agrees()}});
}

int replay(const ReplayCommandOptions& options) {
  const FoundProject found = options.find_for_run(options.run);
  const Project& project = found.project;
  const RunRecord run = read_run(resolve_run(project.runs_folder(), options.run));
  const auto catalogue = catalogue_for(project, run, options.plugins);
  const auto progress = ProgressDisplay::create(progress_options(stderr));
  ReplayOptions replay_options;
  replay_options.arm = options.arm;
  replay_options.workers = options.workers > 0 ? options.workers : std::max(1U, std::thread::hardware_concurrency());
  replay_options.progress = progress.get();
  const ReplayFindings findings = replay_run(run, project, *catalogue, replay_options);
  progress->finish();
  if (options.json) {
    print_findings_json(run, findings);
  } else {
    print_findings(run, findings);
  }
  return findings.agrees() ? 0 : 1;
}

}  // namespace

void add_replay_command(Commands& commands) {
  const auto options = std::make_shared<ReplayCommandOptions>();
  CLI::App& command = commands.add(
      "replay",
      "Evaluate a run again in an empty store and compare every value with the recorded one, and its report's files "
      "with what the values give (exit 1 if any differs)",
      "colonnade replay last --arm all", [options] { return replay(*options); });
  command.add_option("run", options->run, "A run: its name, id, folder, its study's name, or 'last'")->required();
  command.add_option("--arm", options->arm, "Only what this arm needs");
  command.add_option("--workers", options->workers, "Processes that evaluate (default: one a core)")
      ->check(CLI::Range(1, 1024));
  options->declare_plugins(command);
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
