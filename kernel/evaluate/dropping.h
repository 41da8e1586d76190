#pragma once

#include <set>

#include "kernel/evaluate/node_table.h"
#include "kernel/store/dropper.h"

namespace colonnade::host {

// Keeps the store of an evaluation within its quota, while the evaluation goes on. What is wanted, or read by something
// that has not been settled, stays; so does what was read from a path, which may be gone when it is needed again.
class Dropping {
 public:
  Dropping(const StoreQuota& quota, const Catalogue& catalogue, const Store& store, EvaluationObserver& observer,
           NodeTable& table);

  // After values were added and their traces committed.
  void grown(std::uint64_t bytes);

 private:
  bool may_go(const Trace& trace) const;
  void look();
  void tell(const Dropped& dropped);

  const StoreQuota& quota_;
  const Catalogue& catalogue_;
  EvaluationObserver& observer_;
  NodeTable& table_;
  Dropper dropper_;
  std::optional<std::uint64_t> bytes_;  // in the store, at most
  std::uint64_t bytes_then_ = 0;        // when it was last looked through
  std::optional<std::set<Hash>> kept_;
  std::set<Hash> in_use_;
  double looked_ = 0, took_ = 0;
  bool told_of_dropping_ = false, told_of_excess_ = false;
};

}  // namespace colonnade::host
