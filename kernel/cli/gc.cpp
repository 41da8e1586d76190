#include <fmt/format.h>

#include <memory>
#include <set>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/evaluate/system.h"
#include "kernel/study/pins.h"

namespace colonnade::host {
namespace {

// Blobs that another process is about to name in a trace are younger than this.
constexpr double grace_seconds = 3600;

struct GcOptions : CommonOptions {
  bool dry_run = false;
  std::vector<std::string> keep;
  std::string pin, unpin;
  bool pins = false, verify = false;
  double grace = grace_seconds;
};

struct Reached {
  std::set<Hash> keys;     // of all nodes that the runs ever settled
  bool resumable = false;  // a run may go on
};

// Read from journals alone, so that a damaged lock loses no values.
Reached reached_by(const std::vector<RunFolder>& runs) {
  Reached reached;
  for (const RunFolder& run : runs) {
    bool finished = false;
    for (const Json& event : read_journal(run.journal()).events) {
      const auto key = event.find("key");
      if (key != event.end() && key->is_string()) reached.keys.insert(Hash::from_hex(key->get<std::string>()));
      finished = event.value("event", "") == "finished" && event.value("failed", 0) == 0;
    }
    reached.resumable = reached.resumable || !finished;
  }
  return reached;
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

Json pin_json(const Pin& pin) {
  return {{"pin", pin.name}, {"values", pin.keys.size()}};
}

int list_pins(const std::vector<Pin>& pins, bool json) {
  Json list = Json::array();
  ScreenTable table({"pin", "values"});
  for (const Pin& pin : pins) {
    list.push_back(pin_json(pin));
    table.add({pin.name, std::to_string(pin.keys.size())});
  }
  if (json) {
    print_json(list);
  } else {
    say("{}", table.empty() ? "no pins\n" : table.text());
  }
  return 0;
}

// "1 run", "2 runs"
std::string counted(std::size_t count, const char* noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

int say_pin(const char* done, const Pin& pin, bool json) {
  if (json) {
    print_json(pin_json(pin));
  } else {
    say("{} {}: {}\n", done, pin.name, counted(pin.keys.size(), "value"));
  }
  return 0;
}

int verify(Store& store, bool json) {
  Json list = Json::array();
  for (const Hash& blob : store.verify()) {
    list.push_back(blob.hex());
    if (!json) say("{} is damaged, and now in quarantine\n", blob.hex());
  }
  if (json) {
    print_json({{"damaged", list}});
  } else {
    say("{}\n", list.empty() ? "every blob is what its name says"
                             : counted(list.size(), "damaged blob") + "; what needs them will be computed again");
  }
  return list.empty() ? 0 : 1;
}

int gc(const GcOptions& options) {
  const Project project = options.find();
  if (!options.pin.empty()) {
    const Pin pin = pin_of(project.runs_folder(), options.pin);
    add_pin(project.store_folder(), pin);
    return say_pin("pinned", pin, options.json);
  }
  if (!options.unpin.empty()) {
    return say_pin("unpinned", remove_pin(project.store_folder(), project.runs_folder(), options.unpin), options.json);
  }
  const auto pins = read_pins(project.store_folder());
  if (options.pins) return list_pins(pins, options.json);
  if (options.verify) return verify(*Store::open(project.store_folder(), Store::Role::coordinator), options.json);
  const auto runs = kept_runs(project, options.keep);
  const Reached reached = reached_by(runs);
  std::set<Hash> kept = reached.keys;
  for (const Pin& pin : pins) kept.insert(pin.keys.begin(), pin.keys.end());
  const auto store = Store::open(project.store_folder(), Store::Role::coordinator);
  const Store::Garbage garbage = store->collect(kept, options.dry_run, options.grace, reached.resumable);
  if (options.json) {
    print_json({{"dry_run", options.dry_run},
                {"runs_kept", runs.size()},
                {"pins", pins.size()},
                {"blobs", garbage.blobs},
                {"bytes", garbage.bytes},
                {"checkpoints", garbage.checkpoints},
                {"kept_blobs", garbage.kept_blobs},
                {"kept_bytes", garbage.kept_bytes}});
    return 0;
  }
  say("{} {} ({}) and {} that none of {} and {} reaches; {} ({}) stay{}\n",
      options.dry_run ? "would remove" : "removed", counted(garbage.blobs, "blob"),
      human_bytes(static_cast<double>(garbage.bytes)), counted(garbage.checkpoints, "checkpoint"),
      counted(runs.size(), "run"), counted(pins.size(), "pin"), counted(garbage.kept_blobs, "blob"),
      human_bytes(static_cast<double>(garbage.kept_bytes)), garbage.kept_blobs == 1 ? "s" : "");
  return 0;
}

}  // namespace

void add_gc_command(Commands& commands) {
  const auto options = std::make_shared<GcOptions>();
  CLI::App& command = commands.add(
      "gc", "Remove values that no run and no pin reaches (delete a run's folder first to give its values up)",
      "colonnade gc --dry-run\n  colonnade gc --pin last:base     (keeps one value, whatever becomes of the run)",
      [options] { return gc(*options); });
  command.add_flag("--dry-run", options->dry_run, "Only count");
  CLI::Option* keep = command.add_option("--keep", options->keep,
                                         "Keep what these runs, running ones and pins reach, and nothing else");
  CLI::Option* pin =
      command.add_option("--pin", options->pin, "Collect nothing; keep the values of RUN, or of RUN:NODE, from now on");
  CLI::Option* unpin = command.add_option("--unpin", options->unpin, "Collect nothing; take a pin away");
  CLI::Option* pins = command.add_flag("--pins", options->pins, "Collect nothing; list the pins");
  CLI::Option* verify =
      command.add_flag("--verify", options->verify, "Collect nothing; read every blob, put damaged ones in quarantine");
  pin->excludes(unpin, pins, keep, verify);
  unpin->excludes(pins, keep, verify);
  pins->excludes(keep, verify);
  verify->excludes(keep);
  command.add_option("--grace", options->grace, "Keep what is younger than this many seconds")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
