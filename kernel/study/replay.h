#pragma once

#include <string>
#include <vector>

#include "kernel/evaluate/progress.h"
#include "kernel/store/project.h"
#include "kernel/study/changes.h"
#include "kernel/study/check_report.h"
#include "kernel/study/compare_fields.h"

namespace colonnade::host {

enum class Verdict {
  identical,
  within_epsilon,  // of a tolerant op
  measured,        // not compared: the new value is shown beside the recorded one
  stochastic,      // may differ, and does
  diverged,        // on its recorded inputs: the node itself gives another value now
  inherited,       // differs, but a recorded input was not kept, so it saw another one
  failed,
  not_evaluated,  // its op is gone, or an input could not be had
};
std::string_view verdict_name(Verdict verdict);

struct FieldVerdict {
  std::string field;
  Verdict verdict = Verdict::identical;
  std::string detail;  // size of the difference; recorded and new value of measured ones
};

struct NodeVerdict {
  const NodeRecord* node = nullptr;
  Verdict verdict = Verdict::not_evaluated;  // of the worst field
  std::vector<FieldVerdict> fields;          // empty if all are identical
  std::string message;                       // why it failed
  double seconds = 0;
};

struct ReplayFindings {
  std::vector<Change> changes;
  std::vector<Damage> damage;
  std::vector<NodeVerdict> nodes;               // inputs before users
  const NodeVerdict* first_diverged = nullptr;  // into `nodes`
  ReportCheck report;                           // the report's files, rendered again
  bool agrees()
      const;  // nothing diverged, failed, was damaged or could not be evaluated, and the report is the values'

  int count(Verdict verdict) const;
};

struct ReplayOptions {
  std::string arm;  // "" all
  int workers = 1;
  ProgressDisplay* progress = nullptr;
};

// Evaluates the run's nodes again in an empty store and compares field by field. Every node sees its recorded inputs:
// where one gives another value than recorded, the recorded value is put in its place before its users are evaluated,
// if the store still has it. `run` and `catalogue` must outlive the findings.
ReplayFindings replay_run(const RunRecord& run, const Project& project, const Catalogue& catalogue,
                          const ReplayOptions& options);

}  // namespace colonnade::host
