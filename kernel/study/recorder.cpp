#include "kernel/study/recorder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>

#include "colonnade/version.h"
#include "kernel/graph/keys.h"

namespace colonnade::host {
namespace {

// What a kill of the whole machine may cost the journal; nothing is lost to the results, which the store has.
constexpr auto commit_interval = std::chrono::milliseconds(250);

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Json contents_of(const NodeResult& result) {
  Json contents = Json::object();
  for (const auto& [name, field] : result.trace->manifest.fields) contents[name] = field.content.hex();
  return contents;
}

bool same(const TrialRecord& a, const TrialRecord& b) {
  return a.point == b.point && a.metrics == b.metrics && a.files == b.files && a.output == b.output &&
         a.failure == b.failure;
}

}  // namespace

Recorder::Recorder(Journal& journal, EvaluationObserver* next) : journal_(journal), next_(next) {
  for (const Json& event : journal.contents().events) history_.apply(event);
}

void Recorder::event(Json event) {
  event["time"] = now();
  history_.apply(event);
  journal_.append(std::move(event));
}

void Recorder::commit() {
  journal_.commit();
  committed_ = std::chrono::steady_clock::now();
}

void Recorder::start(const Session& session) {
  Json plugins = Json::array();
  for (const std::filesystem::path& plugin : session.plugins) plugins.push_back(plugin.string());
  event({{"event", history_.sessions == 0 ? "started" : "continued"},
         {"arms", session.arms},
         {"seeds", session.seeds},
         {"workers", session.workers},
         {"plugins", plugins},
         {"study_folder", session.study_folder.string()},
         {"cpu", cpu_model()},
         {"colonnade", COLONNADE_VERSION}});
  commit();
}

void Recorder::trial(const TrialRecord& trial) {
  const TrialRecord* known = history_.find_trial(trial.arm, trial.seed);
  if (known && same(*known, trial)) return;
  Json record = {{"event", "trial"},
                 {"arm", trial.arm},
                 {"seed", trial.seed},
                 {"point", trial.point},
                 {"metrics", metrics_to_json(trial.metrics)}};
  if (!trial.files.empty()) record["files"] = metrics_to_json(trial.files);
  if (trial.output) record["output"] = metrics_to_json({*trial.output});
  if (!trial.failure.empty()) record["failure"] = trial.failure;
  event(std::move(record));
}

void Recorder::decision(const DecisionRecord& decision) {
  for (const DecisionRecord& known : history_.decisions) {
    const bool same_step = known.arm == decision.arm && known.seed == decision.seed && known.step == decision.step;
    if (same_step && known.needs == decision.needs) return;
  }
  event({{"event", "decision"},
         {"arm", decision.arm},
         {"seed", decision.seed},
         {"step", decision.step},
         {"needs", metrics_to_json(decision.needs)}});
}

void Recorder::shared(const std::vector<MetricRecord>& metrics, const std::vector<MetricRecord>& files) {
  if (metrics == history_.shared && files == history_.shared_files) return;
  Json record = {{"event", "shared"}, {"metrics", metrics_to_json(metrics)}};
  if (!files.empty()) record["files"] = metrics_to_json(files);
  event(std::move(record));
}

void Recorder::code(const std::string& plugin, const Json& code) {
  const auto known = history_.code.find(plugin);
  if (known != history_.code.end() && known->second == code) return;
  event({{"event", "code"}, {"plugin", plugin}, {"code", code}});
}

void Recorder::settled(const char* kind, const Node& node, const NodeResult& result, double seconds) {
  const NodeRecord* known = history_.find(node.structure);
  const bool told = result.found && known && known->failure.empty() && known->key == result.key;
  if (told) return;
  Json record = node_event(kind, node);
  record["key"] = result.key.hex();
  record["contents"] = contents_of(result);
  record["seconds"] = seconds;
  event(std::move(record));
}

void Recorder::on_found(const NodeRef& node, const NodeResult& result) {
  ++found_;
  settled("found", *node, result, result.trace->seconds);
  if (next_) next_->on_found(node, result);
}

void Recorder::on_started(const NodeRef& node, const Hash& key, int worker) {
  if (next_) next_->on_started(node, key, worker);
}

void Recorder::on_progress(const NodeRef& node, std::int64_t done, std::int64_t total, const std::string& unit,
                           const std::vector<std::pair<std::string, double>>& metrics) {
  if (next_) next_->on_progress(node, done, total, unit, metrics);
}

void Recorder::on_log(const NodeRef& node, const std::string& line) {
  if (next_) next_->on_log(node, line);
}

void Recorder::on_computed(const NodeRef& node, const NodeResult& result, double seconds) {
  ++computed_;
  settled("computed", *node, result, seconds);
  if (next_) next_->on_computed(node, result, seconds);
}

void Recorder::on_failed(const NodeRef& node, const NodeFailure& failure) {
  Json record = node_event("failed", *node);
  record["message"] = failure.message;
  if (failure.origin) record["origin"] = failure.origin->structure.hex();
  event(std::move(record));
  if (next_) next_->on_failed(node, failure);
}

void Recorder::on_nondeterminism(const NodeRef& node, const Nondeterminism& found) {
  event({{"event", "nondeterminism"},
         {"node", node->structure.hex()},
         {"text", fmt::format("{} gave two different values under one key (fields: {}); the first one stays: the op is "
                              "nondeterministic",
                              found.op, fmt::join(found.fields, ", "))}});
  if (next_) next_->on_nondeterminism(node, found);
}

void Recorder::on_message(const std::string& line) {
  event({{"event", "message"}, {"text", line}});
  if (next_) next_->on_message(line);
}

void Recorder::on_tick() {
  if (std::chrono::steady_clock::now() - committed_ >= commit_interval) commit();
  if (next_) next_->on_tick();
}

}  // namespace colonnade::host
