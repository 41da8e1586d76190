#include "kernel/evaluate/dropping.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/evaluate/system.h"

namespace colonnade::host {

namespace {

// Where nothing can be dropped, the store is looked through again when it has grown by this part of the quota, or when
// this many times as long has passed as looking took.
constexpr std::uint64_t kWorthALook = 10;
constexpr double kPauseForLook = 20;

bool is_path(const Param& param) {
  return param.type == ParamType::path || (param.type == ParamType::list && param.element == ParamType::path);
}

}  // namespace

Dropping::Dropping(const StoreQuota& quota, const Catalogue& catalogue, const Store& store,
                   EvaluationObserver& observer, NodeTable& table)
    : quota_(quota), catalogue_(catalogue), observer_(observer), table_(table), dropper_(store.folder()) {}

void Dropping::grown(std::uint64_t bytes) {
  if (quota_.bytes == 0) return;
  if (bytes_) *bytes_ += bytes;
  if (bytes_ && *bytes_ <= quota_.bytes) return;
  const double now = monotonic_seconds();
  const bool grown_since = bytes_ && *bytes_ > bytes_then_ + quota_.bytes / kWorthALook;
  if (!grown_since && now - looked_ < kPauseForLook * took_) return;
  look();
  bytes_then_ = bytes_.value_or(0);
  looked_ = monotonic_seconds();
  took_ = looked_ - now;
}

bool Dropping::may_go(const Trace& trace) const {
  if (in_use_.contains(trace.key) || kept_->contains(trace.key)) return false;
  const OpSchema* schema = catalogue_.find_op(trace.op);
  return schema != nullptr && std::none_of(schema->params.begin(), schema->params.end(), is_path);
}

void Dropping::look() {
  in_use_ = table_.keys_in_use();
  DropRequest request;
  request.quota = quota_.bytes;
  request.most_seconds = quota_.most_seconds;
  request.grace_seconds = quota_.grace_seconds;
  request.may_go = [this](const Trace& trace) {
    if (!kept_) kept_ = quota_.kept_keys ? quota_.kept_keys() : std::set<Hash>();
    return may_go(trace);
  };
  const Dropped dropped = dropper_.drop(request);
  if (dropped.in_use) return;
  bytes_ = dropped.bytes_left;
  table_.dropped(dropped.keys);
  tell(dropped);
}

void Dropping::tell(const Dropped& dropped) {
  const std::string quota = human_bytes(static_cast<double>(quota_.bytes));
  if (!dropped.keys.empty() && !std::exchange(told_of_dropping_, true)) {
    observer_.on_message(fmt::format(
        "the store has reached its quota of {}: values that are quick to compute again are dropped from now on",
        quota));
  }
  if (dropped.bytes_left > quota_.bytes && !std::exchange(told_of_excess_, true)) {
    observer_.on_message(
        fmt::format("the store holds {}, its quota is {}: what is there is in use, young, or slow to "
                    "compute again; 'colonnade gc' frees what no run reaches",
                    human_bytes(static_cast<double>(dropped.bytes_left)), quota));
  }
}

}  // namespace colonnade::host
