#include "kernel/study/export.h"

#include <fmt/format.h>

#include <memory>

#include "colonnade/error.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/evaluate/progress.h"
#include "kernel/evaluate/system.h"

namespace colonnade::host {
namespace {

struct ExportOptions : CommonOptions {
  std::string run, to;
  ExportRequest request;
};

void print_exported(const ExportOutcome& outcome, const std::string& to, bool json) {
  std::uint64_t bytes = 0;
  Json files = Json::array();
  for (const auto& [name, size] : outcome.files) {
    bytes += size;
    files.push_back({{"name", name}, {"bytes", size}});
  }
  if (json) {
    print_json({{"node", outcome.node->structure.hex()},
                {"field", outcome.field},
                {"format", outcome.format},
                {"folder", to},
                {"files", files}});
    return;
  }
  ScreenTable table({"file", "bytes"});
  for (const auto& [name, size] : outcome.files) table.add({name, std::to_string(size)});
  say("{}{}: field '{}' of {} as {}, {} files, {}\n", table.text(), to, outcome.field, outcome.node->short_name(),
      outcome.format, outcome.files.size(), human_bytes(static_cast<double>(bytes)));
}

int export_value(ExportOptions options) {
  const FoundProject found = options.find_for_run(options.run);
  const RunRecord run = read_run(resolve_run(found.project.runs_folder(), options.run));
  const auto catalogue = catalogue_for(found.project, run, options.plugins);
  const auto progress = ProgressDisplay::create(progress_options(stderr));
  options.request.to = options.to;
  const ExportOutcome outcome = export_files(run, found.project, *catalogue, options.request, *progress);
  progress->finish();
  print_exported(outcome, options.to, options.json);
  return 0;
}

}  // namespace

void add_export_command(Commands& commands) {
  const auto options = std::make_shared<ExportOptions>();
  ExportRequest& request = options->request;
  CLI::App& command = commands.add(
      "export", "Write a value of a run, such as the model that an arm ends in, as files that other programs read",
      "colonnade export last best --seed 0 --format hf --to my-model\n"
      "  colonnade export last 3f2a1c --to files     (the node's value is files already)",
      [options] { return export_value(*options); });
  command.add_option("run", options->run, "A run: its name, id, folder, its study's name, or 'last'")->required();
  command
      .add_option("what", request.what, "An arm, or a node: its label, its op, or the first digits of its structure")
      ->required();
  command.add_option("--seed", request.seed, "The arm's seed, where it was run under several");
  command.add_option("--field", request.field,
                     "The field (default: the model that the arm ends in; of a node, its model or its only field)");
  command.add_option("--format", request.format,
                     "How: an op whose first field is of type files (not needed where the field is of that type)");
  command.add_option("--param", request.params, "NAME=VALUE: a parameter of the format (repeatable)")
      ->expected(1)
      ->take_all();
  command.add_option("--to", options->to, "The folder to write; made, and there whole or not at all")->required();
  command.add_flag("--force", request.replace, "Replace the folder where it is there and not empty");
  options->declare_plugins(command);
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
