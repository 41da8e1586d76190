#include <fmt/format.h>

#include <memory>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/study/execute.h"

namespace colonnade::host {
namespace {

struct ReportOptions : CommonOptions {
  std::string run;
  bool no_plots = false;
};

int report(const ReportOptions& options) {
  const Project project = options.find();
  const RunRecord run = read_run(resolve_run(project.runs_folder(), options.run));
  const auto catalogue = catalogue_for(project, run, {});
  const auto store = Store::open(project.store_folder(), Store::Role::reader);
  const std::string table = write_run_report(run, *store, *catalogue, !options.no_plots);
  if (options.json) {
    print_json({{"run", run.folder.name()}, {"folder", run.folder.path.string()}, {"table", table}});
  } else {
    say("{}\nwritten to {}\n", table, run.folder.path.string());
  }
  return 0;
}

}  // namespace

void add_report_command(Commands& commands) {
  const auto options = std::make_shared<ReportOptions>();
  CLI::App& command =
      commands.add("report", "Write a run's tables, figures and report again, from its journal and the store",
                   "colonnade report last", [options] { return report(*options); });
  command.add_option("run", options->run, "A run: its name, id, folder, its study's name, or 'last'")->required();
  command.add_flag("--no-plots", options->no_plots, "Leave the figures as they are");
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
