#include <fmt/format.h>

#include <memory>
#include <set>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/evaluate/system.h"

namespace colonnade::host {
namespace {

// Blobs that another process is about to name in a trace are younger than this.
constexpr double grace_seconds = 3600;

struct GcOptions : CommonOptions {
  bool dry_run = false;
  std::vector<std::string> keep;
  double grace = grace_seconds;
};

// Keys of all nodes that the runs ever settled. Read from journals alone, so that a damaged lock loses no values.
std::set<Hash> keys_of(const std::vector<RunFolder>& runs) {
  std::set<Hash> keys;
  for (const RunFolder& run : runs) {
    for (const Json& event : read_journal(run.journal()).events) {
      const auto key = event.find("key");
      if (key != event.end() && key->is_string()) keys.insert(Hash::from_hex(key->get<std::string>()));
    }
  }
  return keys;
}

std::vector<RunFolder> kept_runs(const Project& project, const std::vector<std::string>& named) {
  const std::vector<RunFolder> all = all_runs(project.runs_folder());
  if (named.empty()) return all;
  std::vector<RunFolder> kept;
  for (const std::string& name : named) kept.push_back(resolve_run(project.runs_folder(), name));
  for (const RunFolder& run : all) {
    if (is_live(run.journal())) kept.push_back(run);
  }
  return kept;
}

int gc(const GcOptions& options) {
  const Project project = options.find();
  const auto runs = kept_runs(project, options.keep);
  const auto store = Store::open(project.store_folder(), Store::Role::coordinator);
  const Store::Garbage garbage = store->collect(keys_of(runs), options.dry_run, options.grace);
  if (options.json) {
    print_json({{"dry_run", options.dry_run},
                {"runs_kept", runs.size()},
                {"blobs", garbage.blobs},
                {"bytes", garbage.bytes},
                {"checkpoints", garbage.checkpoints},
                {"kept_blobs", garbage.kept_blobs},
                {"kept_bytes", garbage.kept_bytes}});
    return 0;
  }
  say("{} {} blobs ({}) and {} checkpoints that none of {} runs reaches; {} blobs ({}) stay\n",
      options.dry_run ? "would remove" : "removed", garbage.blobs, human_bytes(static_cast<double>(garbage.bytes)),
      garbage.checkpoints, runs.size(), garbage.kept_blobs, human_bytes(static_cast<double>(garbage.kept_bytes)));
  return 0;
}

}  // namespace

void add_gc_command(Commands& commands) {
  const auto options = std::make_shared<GcOptions>();
  CLI::App& command =
      commands.add("gc", "Remove values that no run reaches (delete a run's folder first to give its values up)",
                   "colonnade gc --dry-run", [options] { return gc(*options); });
  command.add_flag("--dry-run", options->dry_run, "Only count");
  command.add_option("--keep", options->keep, "Keep what these runs and running ones reach, and nothing else");
  command.add_option("--grace", options->grace, "Keep what is younger than this many seconds")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
