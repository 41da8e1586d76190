#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "colonnade/error.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/evaluate/progress.h"
#include "kernel/study/execute.h"

namespace colonnade::host {
namespace {

constexpr const char* report_file = "RESEARCH_REPORT.md";

std::string shown(const std::filesystem::path& path) {
  return path.lexically_proximate(std::filesystem::current_path()).string();
}

void print_outcome(const RunOutcome& outcome, bool json) {
  if (json) {
    print_json({{"run", outcome.folder.name()},
                {"folder", outcome.folder.path.string()},
                {"failed_trials", outcome.failed_trials},
                {"was_finished", outcome.was_finished},
                {"nodes_computed", outcome.computed},
                {"nodes_found", outcome.found},
                {"workers_started", outcome.workers_started},
                {"table", outcome.table}});
    return;
  }
  say("{}\n", outcome.table);
  if (outcome.was_finished) {
    say("finished before; nothing was evaluated\n");
  } else {
    say("{} nodes computed, {} found\n", outcome.computed, outcome.found);
  }
  say("report: {}\n", shown(outcome.folder.path / report_file));
}

constexpr int exit_interrupted = 130;

struct RunOptions : StudyOptions {
  bool log = false;
};

int run(const RunOptions& options) {
  PreparedStudy prepared = options.prepare(options.find_or_create());
  RunOutcome outcome;
  try {
    outcome = execute_study(prepared, [&](const RunFolder& folder) {
      say_error("run {}\n", shown(folder.path));
      ProgressOptions progress = progress_options(stderr);
      progress.op_lines = options.log;
      return ProgressDisplay::create(progress);
    });
  } catch (const Cancelled&) {
    say_error("colonnade: interrupted; the same command continues where this one ended\n");
    return exit_interrupted;
  }
  for (const std::string& message : outcome.messages) say_error("colonnade: {}\n", message);
  print_outcome(outcome, options.json);
  if (outcome.failed_trials == 0) return 0;
  say_error("colonnade: {} trial{} failed; the report says why, and the same command tries again\n",
            outcome.failed_trials, outcome.failed_trials == 1 ? "" : "s");
  return 1;
}

}  // namespace

void add_run_command(Commands& commands) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App& command = commands.add("run", "Evaluate a study, go on with its interrupted run, or print its finished one",
                                   "colonnade run studies/quickstart --set train.arm_steps=20\n  "
                                   "colonnade run studies/quickstart --train.arm_steps 20"
                                   " --disable-visualization   (any setting can be written as an option)\n  "
                                   "colonnade run my-study --log   (see texts as they are generated)",
                                   [options] { return run(*options); });
  options->declare_study(command);
  command.add_flag("--log", options->log, "Print what ops say while they run: steps of a training, texts as they grow");
  commands.accept_settings_as_options("run");
}

}  // namespace colonnade::host
