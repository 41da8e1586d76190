#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernel/evaluate/progress.h"
#include "kernel/study/prepare.h"
#include "kernel/study/record.h"

namespace colonnade::host {

struct RunOutcome {
  RunFolder folder;
  std::string table;
  int failed_trials = 0;
  bool was_finished = false;    // printed from what an earlier process wrote
  int computed = 0, found = 0;  // nodes, in this process
  int workers_started = 0;
  std::vector<std::string> messages;  // for the user: what had to be mended
};

// Draws progress of a run, or null for none. Made once the run is known not to be finished.
using DisplayFactory = std::function<std::unique_ptr<ProgressDisplay>(const RunFolder&)>;

// Executes the study, or goes on with its interrupted run, or finds it finished. SIGINT and SIGTERM end it cleanly:
// Cancelled, and the same call goes on. Error(environment) if another process is executing this run.
RunOutcome execute_study(PreparedStudy& prepared, const DisplayFactory& make_display);

// Writes a run's reports again from journal and store. Returns the table.
std::string write_run_report(const RunRecord& run, Store& store, const Catalogue& catalogue, bool draw_plots);

}  // namespace colonnade::host
