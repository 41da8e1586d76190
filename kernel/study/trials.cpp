#include "kernel/study/trials.h"

#include <fmt/format.h>

#include <algorithm>

#include "colonnade/value.h"
#include "kernel/study/settings.h"

namespace colonnade::host {
namespace {

// A value as a study's Lua sees it.
Json as_seen_by_study(const Field& field) {
  if (field.type != "table") return field.document;
  Json columns = Json::object();
  const Table table = table_from(field);
  for (const Table::Column& column : table.columns()) columns[column.name] = column.cells;
  return columns;
}

}  // namespace

TrialDriver::TrialDriver(LoadedStudy& study, std::vector<std::uint64_t> seeds, Evaluator& evaluator, Recorder& recorder,
                         NodeVisitor visitor)
    : study_(study),
      seeds_(std::move(seeds)),
      evaluator_(evaluator),
      recorder_(recorder),
      visitor_(std::move(visitor)) {}

void TrialDriver::start() {
  const StudyDescription& description = study_.description();
  for (std::size_t arm = 0; arm < description.arms.size(); ++arm) {
    for (const std::uint64_t seed : seeds_) {
      Trial trial;
      trial.arm = arm;
      trial.seed = seed;
      trial.adaptive = description.arms[arm].adaptive;
      trials_.push_back(std::move(trial));
    }
  }
  for (Trial& trial : trials_) {
    if (!trial.adaptive) start_static(trial, description.arms[trial.arm]);
  }
  start_shared();
  for (Trial& trial : trials_) {
    if (trial.adaptive) take(trial, study_.start(trial.arm, trial.seed));
  }
}

void TrialDriver::start_shared() {
  const auto start = [&](const std::vector<MetricRef>& results) {
    std::vector<MetricRecord> records;
    for (const MetricRef& result : results) {
      const FieldRef bound = study_.nodes().bind(result.from, seeds_.front());
      records.push_back(metric_record(result.name, bound));
      shared_.push_back(bound);
      request(bound);
    }
    return records;
  };
  const auto metrics = start(study_.description().shared);
  recorder_.shared(metrics, start(study_.description().shared_files));
}

void TrialDriver::run() {
  do {
    bool advanced = true;
    while (advanced) {
      advanced = false;
      for (Trial& trial : trials_) advanced = advance(trial) || advanced;
    }
  } while (evaluator_.wait());
}

int TrialDriver::failed() const {
  const auto trials = std::count_if(trials_.begin(), trials_.end(), [&](const Trial& trial) {
    return !trial.failure.empty() || failure_of(trial.results);
  });
  return static_cast<int>(trials) + (failure_of(shared_) ? 1 : 0);
}

void TrialDriver::start_static(Trial& trial, const Arm& arm) {
  const auto bound = [&](std::vector<MetricRef> results) {
    for (MetricRef& result : results) result.from = study_.nodes().bind(result.from, trial.seed);
    return results;
  };
  AdaptiveStep end;
  end.metrics = bound(arm.metrics);
  end.files = bound(arm.files);
  if (arm.output) end.output = study_.nodes().bind(*arm.output, trial.seed);
  finish(trial, end);
}

void TrialDriver::take(Trial& trial, const AdaptiveStep& step) {
  if (!step.error.empty() || step.needs.empty()) return finish(trial, step);
  trial.needs = step.needs;
  trial.attempt = step.attempt;
  DecisionRecord decision;
  decision.arm = study_.description().arms[trial.arm].name;
  decision.seed = trial.seed;
  decision.step = trial.step++;
  for (const FieldRef& field : step.needs) decision.needs.push_back(metric_record("", field));
  recorder_.decision(decision);
  for (const FieldRef& field : step.needs) request(field);
}

void TrialDriver::finish(Trial& trial, const AdaptiveStep& end) {
  const Arm& arm = study_.description().arms[trial.arm];
  TrialRecord record;
  record.arm = arm.name;
  record.seed = trial.seed;
  record.point = arm.point;
  record.failure = end.error;
  for (const MetricRef& metric : end.metrics) record.metrics.push_back(metric_record(metric.name, metric.from));
  for (const MetricRef& file : end.files) record.files.push_back(metric_record(file.name, file.from));
  if (end.output) record.output = metric_record("", *end.output);
  recorder_.trial(record);
  trial.returned = true;
  trial.needs.clear();
  trial.failure = end.error;
  for (const auto* results : {&end.metrics, &end.files}) {
    for (const MetricRef& result : *results) {
      trial.results.push_back(result.from);
      request(result.from);
    }
  }
}

bool TrialDriver::advance(Trial& trial) {
  if (trial.returned) return false;
  const bool known =
      std::all_of(trial.needs.begin(), trial.needs.end(), [&](const auto& field) { return settled(field); });
  if (!known) return false;
  if (const NodeFailure* failure = failure_of(trial.needs)) {
    if (trial.attempt && !failure->refusal.empty()) {
      take(trial, study_.refuse(trial.arm, trial.seed, failure->refusal));
      return true;
    }
    AdaptiveStep end;
    end.error = failure->message;
    finish(trial, end);
    return true;
  }
  std::vector<Json> values;
  for (const FieldRef& field : trial.needs) values.push_back(value_of(field));
  take(trial, study_.resume(trial.arm, trial.seed, values));
  return true;
}

void TrialDriver::request(const FieldRef& field) {
  if (visitor_) visitor_(field.node);
  evaluator_.request(field.node);
}

Json TrialDriver::value_of(const FieldRef& field) {
  return as_seen_by_study(evaluator_.fetch(field));
}

bool TrialDriver::settled(const FieldRef& field) const {
  const NodeState state = evaluator_.state(field.node);
  return state == NodeState::found || state == NodeState::computed || state == NodeState::failed;
}

// The first one; one that is no refusal before any that is.
const NodeFailure* TrialDriver::failure_of(const std::vector<FieldRef>& fields) const {
  const NodeFailure* refused = nullptr;
  for (const FieldRef& field : fields) {
    const NodeFailure* failure = evaluator_.failure(field.node);
    if (!failure) continue;
    if (failure->refusal.empty()) return failure;
    if (!refused) refused = failure;
  }
  return refused;
}

std::vector<std::uint64_t> seeds_of(const StudyDescription& description, const Settings& settings) {
  std::vector<std::uint64_t> seeds = host_settings(settings).seeds;
  if (seeds.empty()) seeds = description.seeds;
  if (seeds.empty()) seeds = {0};
  const bool any_adaptive =
      std::any_of(description.arms.begin(), description.arms.end(), [](const Arm& arm) { return arm.adaptive; });
  // Trials that differ in nothing would pass for evidence.
  if (!description.draws_seed && !any_adaptive) seeds.resize(1);
  return seeds;
}

std::vector<BoundMetric> bound_metrics(LoadedStudy& study, const std::vector<std::uint64_t>& seeds) {
  std::vector<BoundMetric> bound;
  const auto bind = [&](const std::string& arm, std::uint64_t seed, const std::vector<MetricRef>& results) {
    for (const MetricRef& result : results) {
      bound.push_back({arm, seed, result.name, study.nodes().bind(result.from, seed)});
    }
  };
  const StudyDescription& description = study.description();
  for (const Arm& arm : description.arms) {
    for (const std::uint64_t seed : seeds) {
      bind(arm.name, seed, arm.metrics);
      bind(arm.name, seed, arm.files);
    }
  }
  bind("", seeds.front(), description.shared);
  bind("", seeds.front(), description.shared_files);
  return bound;
}

}  // namespace colonnade::host
