#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel/evaluate/evaluator.h"
#include "kernel/study/recorder.h"
#include "kernel/study/study.h"

namespace colonnade::host {

// Called once a new node is about to be requested, for plugins that only an adaptive arm reaches.
using NodeVisitor = std::function<void(const NodeRef&)>;

// Drives the trials of a study (each arm under each seed) through an evaluator: binds what is known, requests it, and
// resumes adaptive arms as the values that they wait for are settled. What an arm sees depends on its own values only,
// so the results do not depend on who finishes first. All references must outlive it.
class TrialDriver {
 public:
  TrialDriver(LoadedStudy& study, std::vector<std::uint64_t> seeds, Evaluator& evaluator, Recorder& recorder,
              NodeVisitor visitor);

  void start();
  void run();          // until nothing is left to do; Cancelled passes
  int failed() const;  // trials; the values of no arm count as one

 private:
  struct Trial {
    std::size_t arm = 0;
    std::uint64_t seed = 0;
    bool adaptive = false;
    bool returned = false;
    int step = 0;
    std::vector<FieldRef> needs;
    bool attempt = false;           // goes on where an op refuses a need
    std::vector<FieldRef> results;  // metrics and files
    std::string failure;
  };

  void start_shared();
  void start_static(Trial& trial, const Arm& arm);
  void take(Trial& trial, const AdaptiveStep& step);
  void finish(Trial& trial, const AdaptiveStep& end);
  bool advance(Trial& trial);
  void request(const FieldRef& field);
  Json value_of(const FieldRef& field);
  bool settled(const FieldRef& field) const;
  const NodeFailure* failure_of(const std::vector<FieldRef>& fields) const;

  LoadedStudy& study_;
  std::vector<std::uint64_t> seeds_;
  Evaluator& evaluator_;
  Recorder& recorder_;
  NodeVisitor visitor_;
  std::vector<Trial> trials_;
  std::vector<FieldRef> shared_;
};

// The seeds a run uses: the settings', else the study's; one where nothing depends on them.
std::vector<std::uint64_t> seeds_of(const StudyDescription& description, const Settings& settings);

// The metrics and files of all arms whose arm does not depend on values, bound under each seed, and the shared ones.
struct BoundMetric {
  std::string arm;  // "" shared
  std::uint64_t seed = 0;
  std::string name;
  FieldRef from;
};
std::vector<BoundMetric> bound_metrics(LoadedStudy& study, const std::vector<std::uint64_t>& seeds);

}  // namespace colonnade::host
