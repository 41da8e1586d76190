#include "kernel/evaluate/estimates.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "kernel/lua/expression.h"

namespace colonnade::host {

namespace {

constexpr std::size_t kRecentTraces = 64;

// Nothing if the plugin's expression does not give a number for these parameters: an estimate is never worth a failure.
std::optional<double> evaluate(const std::string& expression, const Json& params) {
  if (expression.empty()) return 1;
  try {
    const double value = evaluate_expression(expression, params);
    return std::isfinite(value) && value > 0 ? std::optional(value) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

const Estimates::Past& Estimates::past_of(const OpSchema& schema) {
  const auto known = past_.find(schema.id());
  if (known != past_.end()) return known->second;
  Past& past = past_[schema.id()];
  std::vector<const Trace*> traces = store_.traces_of(schema.id());
  const std::size_t count = std::min(traces.size(), kRecentTraces);
  for (auto trace = traces.end() - static_cast<std::ptrdiff_t>(count); trace != traces.end(); ++trace) {
    // A trace that was copied for its value alone, as replay does, says nothing of what it cost.
    if (!(*trace)->key_record.is_object()) continue;
    const Json params = (*trace)->key_record.value("params", Json::object());
    past.any = true;
    past.peak_memory = std::max(past.peak_memory, static_cast<double>((*trace)->peak_memory));
    const Hash hash = hash_bytes(encode(params));
    if (const auto units = evaluate(schema.work, params)) past.seconds.push_back({hash, (*trace)->seconds, *units});
    if (const auto units = evaluate(schema.bytes, params)) {
      past.bytes.push_back({hash, static_cast<double>((*trace)->manifest.bytes()), *units});
    }
  }
  return past;
}

std::optional<CostEstimate> Estimates::estimate(const Node& node, const std::string& expression,
                                                Samples Past::*samples) {
  const Samples& past = past_of(*node.schema).*samples;
  const auto units = evaluate(expression, node.params);
  if (past.empty() || !units) return std::nullopt;
  const Hash own = hash_bytes(encode(node.params));
  const bool has_own = std::any_of(past.begin(), past.end(), [&](const Sample& each) { return each.params == own; });
  double cost = 0, divisor = 0;
  CostEstimate estimate{0, std::numeric_limits<double>::infinity(), 0};
  for (const Sample& each : past) {
    if (has_own && each.params != own) continue;
    cost += each.cost;
    divisor += each.units;
    estimate.low = std::min(estimate.low, each.cost / each.units * *units);
    estimate.high = std::max(estimate.high, each.cost / each.units * *units);
  }
  estimate.likely = cost / divisor * *units;
  return estimate;
}

std::optional<double> Estimates::bytes(const Node& node) {
  const auto from_past = estimate(node, node.schema->bytes, &Past::bytes);
  if (from_past) return from_past->likely;
  if (node.schema->bytes.empty()) return std::nullopt;
  return evaluate(node.schema->bytes, node.params);  // the expression gives bytes, so it serves without a past
}

std::optional<double> Estimates::declared_memory(const Node& node) {
  return node.schema->memory.empty() ? std::nullopt : evaluate(node.schema->memory, node.params);
}

std::optional<double> Estimates::memory(const Node& node) {
  if (const auto declared = declared_memory(node)) return declared;
  const Past& past = past_of(*node.schema);
  return past.any ? std::optional(past.peak_memory) : std::nullopt;
}

}  // namespace colonnade::host
