#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"

namespace colonnade::host {
namespace {

constexpr std::size_t most_arms_text = 60;

struct Listed {
  RunFolder folder;
  RunHistory history;
  std::string state;
};

// Without the lock: it is the larger part of a run, and nothing of it is shown here.
Listed look_at(const RunFolder& folder) {
  Listed listed{folder, {}, ""};
  const JournalContents contents = read_journal(folder.journal());
  for (const Json& event : contents.events) {
    const std::string kind = event.value("event", "");
    const bool wanted =
        kind != "found" && kind != "computed" && kind != "failed" && kind != "trial" && kind != "decision";
    if (wanted) listed.history.apply(event);
    listed.history.last = event.value("time", listed.history.last);
  }
  if (is_live(folder.journal())) {
    listed.state = "running";
  } else if (!listed.history.finished) {
    listed.state = "incomplete";
  } else if (listed.history.failed_trials > 0) {
    listed.state = fmt::format("{} failed", listed.history.failed_trials);
  } else {
    listed.state = "finished";
  }
  if (!contents.damage.empty()) listed.state += ", damaged journal";
  return listed;
}

int ls(const CommonOptions& options) {
  const Project project = options.find();
  std::vector<Listed> runs;
  for (const RunFolder& folder : all_runs(project.runs_folder())) runs.push_back(look_at(folder));
  if (options.json) {
    Json list = Json::array();
    for (const Listed& run : runs) {
      list.push_back({{"run", run.folder.name()},
                      {"folder", run.folder.path.string()},
                      {"state", run.state},
                      {"arms", run.history.arms},
                      {"started", run.history.started},
                      {"last", run.history.last}});
    }
    print_json({{"runs", list}, {"store", {{"folder", project.store_folder().string()}}}});
    return 0;
  }
  ScreenTable table({"run", "state", "started", "last", "arms"});
  for (const Listed& run : runs) {
    table.add({run.folder.name(), run.state, human_time(run.history.started), human_time(run.history.last),
               short_text(fmt::format("{}", fmt::join(run.history.arms, " ")), most_arms_text)});
  }
  say("{}", table.empty() ? "no runs yet\n" : table.text());
  return 0;
}

}  // namespace

void add_ls_command(Commands& commands) {
  const auto options = std::make_shared<CommonOptions>();
  CLI::App& command = commands.add("ls", "List the project's runs (`gc --dry-run` tells the size of its store)",
                                   "colonnade ls", [options] { return ls(*options); });
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
