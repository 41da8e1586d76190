#include "kernel/study/replay_pass.h"

#include <fmt/format.h>

#include <algorithm>

#include "colonnade/error.h"
#include "colonnade/text.h"
#include "kernel/study/interrupt.h"

namespace colonnade::host {
namespace {

constexpr const char* op_class_of_copies = "copy";  // never held against another value

// A value in few words, for measured ones.
std::string brief(const Field& field) {
  constexpr std::size_t most = 80;
  if (field.type == "scalar") {
    const Scalar scalar = scalar_from(field);
    return fmt::format("{:.6g}{}{}", scalar.value, scalar.unit.empty() ? "" : " ", scalar.unit);
  }
  return shortened(json_text(field.document), most);
}

Verdict worse(Verdict a, Verdict b) {
  return static_cast<int>(a) < static_cast<int>(b) ? b : a;
}

// The recorded field, if the store still has it whole.
std::optional<Field> recorded_field(Store& store, const Trace* trace, const std::string& name) {
  if (!trace || !trace->manifest.fields.count(name) || !store.has_blobs(trace->manifest)) return std::nullopt;
  const Manifest manifest = trace->manifest;
  try {
    return store.get(manifest.fields.at(name), manifest);
  } catch (const DamagedBlob&) {
    return std::nullopt;  // find_damage has named it
  }
}

}  // namespace

Replayer::Replayer(const RebuiltGraph& graph, const std::vector<const NodeRecord*>& order, Store& recorded,
                   const Catalogue& catalogue, EvaluatorOptions options, ProgressDisplay* progress)
    : graph_(graph),
      order_(order),
      recorded_(recorded),
      catalogue_(catalogue),
      options_(std::move(options)),
      progress_(progress) {
  for (const NodeRecord* record : order_) by_structure_[record->structure] = record;
  if (progress_) progress_->set_total(static_cast<int>(order_.size()));
}

bool Replayer::done() const {
  return std::all_of(order_.begin(), order_.end(), [&](const NodeRecord* record) { return judged_.count(record) > 0; });
}

bool Replayer::pass(Store& store, Store* before) {
  store_ = &store;
  requested_.clear();
  seed(store, before);
  const auto evaluator = Evaluator::create(options_, catalogue_, store, *this);
  const InterruptGuard guard([&] { evaluator->interrupt(); });
  const std::size_t judged = judged_.size();
  do {
    while (request_ready(*evaluator)) {
    }
  } while (evaluator->wait());
  return judged_.size() > judged;
}

void Replayer::seed(Store& store, Store* before) {
  for (const NodeRecord* record : order_) {
    const auto known = judged_.find(record);
    if (known == judged_.end() || !known->second.manifest) continue;
    Judged& judged = known->second;
    if (judged.substituted) {
      judged.manifest = store.put(recorded_.get(*judged.manifest));
      judged.substituted = false;
    } else if (before && !store.has_blobs(*judged.manifest)) {
      continue;
    }
    Trace trace;
    trace.key = judged.key;
    trace.op = record->op;
    trace.manifest = *judged.manifest;
    trace.op_class = op_class_of_copies;  // without a key record: it says nothing of what the op costs
    store.add(std::move(trace));
  }
  store.commit();
}

const NodeRecord* Replayer::input_record(const NodeRecord::Input& input) const {
  const auto found = by_structure_.find(input.node);
  return found == by_structure_.end() ? nullptr : found->second;
}

bool Replayer::is_ready(const NodeRecord& record) const {
  if (judged_.count(&record) || requested_.count(&record) || !graph_.nodes.count(&record)) return false;
  return std::all_of(record.inputs.begin(), record.inputs.end(), [&](const NodeRecord::Input& input) {
    const NodeRecord* from = input_record(input);
    const auto judged = judged_.find(from);
    return judged != judged_.end() && judged->second.manifest && !judged->second.substituted;
  });
}

bool Replayer::request_ready(Evaluator& evaluator) {
  bool any = false;
  for (const NodeRecord* record : order_) {
    if (!is_ready(*record)) continue;
    requested_.insert(record);
    evaluator.request(graph_.nodes.at(record));
    any = true;
  }
  return any;
}

bool Replayer::saw_recorded_inputs(const NodeRecord& record) const {
  return std::none_of(record.inputs.begin(), record.inputs.end(),
                      [&](const NodeRecord::Input& input) { return judged_.at(input_record(input)).off_record; });
}

Verdict Replayer::judge_field(const NodeRecord& record, const std::string& name, const NodeResult& result,
                              const Trace* kept, FieldVerdict& field) {
  const OpSchema& schema = *graph_.nodes.at(&record)->schema;
  const FieldManifest& now = result.trace->manifest.fields.at(name);
  const bool same = record.contents.count(name) && record.contents.at(name) == now.content;
  field.field = name;
  const auto before = recorded_field(recorded_, kept, name);
  if (schema.op_class == OpClass::measured) {
    const Field value = store_->get(now, result.trace->manifest);
    field.detail = fmt::format("recorded {}, now {}", before ? brief(*before) : "not kept", brief(value));
    return Verdict::measured;
  }
  if (same) return Verdict::identical;
  if (!before) {
    field.detail = "other contents; the recorded value is not kept, so by how much is not known";
    return schema.op_class == OpClass::stochastic ? Verdict::stochastic : Verdict::diverged;
  }
  const FieldDifference difference = compare_fields(store_->get(now, result.trace->manifest), *before);
  field.detail = difference.text();
  if (schema.op_class == OpClass::stochastic) return Verdict::stochastic;
  const bool close =
      schema.op_class == OpClass::tolerant && difference.comparable && difference.max_relative <= schema.epsilon;
  return close ? Verdict::within_epsilon : Verdict::diverged;
}

void Replayer::judge(const NodeRecord& record, const NodeResult& result, double seconds) {
  Judged& judged = judged_[&record];
  judged.key = result.key;
  judged.verdict.node = &record;
  judged.verdict.seconds = seconds;
  judged.verdict.verdict = Verdict::identical;
  const bool on_record = saw_recorded_inputs(record);
  const Trace* kept = recorded_.find(record.key);
  const Manifest& now = result.trace->manifest;
  bool same = now.fields.size() == record.contents.size();
  for (const auto& [name, manifest] : now.fields) {
    FieldVerdict field;
    field.verdict = judge_field(record, name, result, kept, field);
    if (field.verdict == Verdict::diverged && !on_record) field.verdict = Verdict::inherited;
    same = same && record.contents.count(name) && record.contents.at(name) == manifest.content;
    judged.verdict.verdict = worse(judged.verdict.verdict, field.verdict);
    judged.verdict.fields.push_back(std::move(field));
  }
  judged.manifest = now;
  if (same) return;
  if (judged.verdict.verdict == Verdict::identical) judged.verdict.verdict = Verdict::diverged;  // a field is missing
  judged.off_record = kept == nullptr;
  judged.substituted = kept != nullptr;
  if (kept) judged.manifest = kept->manifest;
}

void Replayer::on_started(const NodeRef& node, const Hash& key, int worker) {
  const auto record = graph_.records.find(node.get());
  if (record != graph_.records.end()) keys_[record->second] = key;
  if (progress_) progress_->on_started(node, key, worker);
}

// Of what was not given, only a node that shares its key with one just computed is found.
void Replayer::on_found(const NodeRef& node, const NodeResult& result) {
  const auto record = graph_.records.find(node.get());
  const bool wanted = record != graph_.records.end() && !judged_.count(record->second);
  if (wanted) judge(*record->second, result, 0);
  if (progress_) progress_->on_found(node, result);
}

void Replayer::on_computed(const NodeRef& node, const NodeResult& result, double seconds) {
  const auto record = graph_.records.find(node.get());
  const bool wanted = record != graph_.records.end() && !judged_.count(record->second);
  if (wanted) judge(*record->second, result, seconds);
  if (progress_) progress_->on_computed(node, result, seconds);
}

void Replayer::on_failed(const NodeRef& node, const NodeFailure& failure) {
  const auto record = graph_.records.find(node.get());
  if (record != graph_.records.end() && !judged_.count(record->second)) {
    Judged& judged = judged_[record->second];
    judged.verdict.node = record->second;
    judged.verdict.verdict = Verdict::failed;
    judged.verdict.message = failure.message;
    const Trace* kept = recorded_.find(record->second->key);
    if (kept && keys_.count(record->second)) {
      judged.key = keys_.at(record->second);
      judged.manifest = kept->manifest;
      judged.substituted = true;
    }
  }
  if (progress_) progress_->on_failed(node, failure);
}

void Replayer::on_progress(const NodeRef& node, std::int64_t done, std::int64_t total, const std::string& unit,
                           const std::vector<std::pair<std::string, double>>& metrics) {
  if (progress_) progress_->on_progress(node, done, total, unit, metrics);
}

void Replayer::on_message(const std::string& line) {
  if (progress_) progress_->on_message(line);
}

void Replayer::on_tick() {
  if (progress_) progress_->on_tick();
}

Hash Replayer::key_of(const Hash& structure) const {
  const auto record = by_structure_.find(structure);
  const auto judged = record == by_structure_.end() ? judged_.end() : judged_.find(record->second);
  return judged == judged_.end() ? Hash() : judged->second.key;
}

std::vector<NodeVerdict> Replayer::verdicts() const {
  std::vector<NodeVerdict> verdicts;
  for (const NodeRecord* record : order_) {
    const auto judged = judged_.find(record);
    if (judged != judged_.end()) {
      verdicts.push_back(judged->second.verdict);
    } else {
      NodeVerdict verdict;
      verdict.node = record;
      const auto missing = graph_.missing.find(record);
      verdict.message = missing != graph_.missing.end() ? missing->second : "an input could not be evaluated";
      verdicts.push_back(std::move(verdict));
    }
  }
  return verdicts;
}

}  // namespace colonnade::host
