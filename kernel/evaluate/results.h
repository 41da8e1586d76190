#pragma once

#include <filesystem>
#include <utility>
#include <vector>

#include "kernel/evaluate/dropping.h"
#include "kernel/evaluate/node_table.h"

namespace colonnade::host {

// What becomes of a worker's answers: traces in the store, nodes settled, the observer told.
class Results {
 public:
  Results(Store& store, EvaluationObserver& observer, NodeTable& table, Dropping& dropping,
          std::filesystem::path cache_folder)
      : store_(store),
        observer_(observer),
        table_(table),
        dropping_(dropping),
        cache_folder_(std::move(cache_folder)) {}

  // "done": the node is computed, unless what it read has changed meanwhile or its value is not what was recorded.
  void finish(Entry& entry, const Json& message);
  // "damaged": the input is computed again, and then the node.
  void input_unreadable(Entry& entry, const Json& message);
  // Group commit: traces are on the disk before anybody hears of them.
  void publish();

 private:
  struct Finished {
    Entry* entry;
    double seconds;
    bool checkpointed;
  };

  bool files_changed(Entry& entry);
  const Trace* record(Entry& entry, Trace trace);
  void let_store_see(const Entry& entry, const std::string& field);

  Store& store_;
  EvaluationObserver& observer_;
  NodeTable& table_;
  Dropping& dropping_;
  std::filesystem::path cache_folder_;  // of path hashes
  std::vector<Finished> finished_;      // computed, their traces not committed yet
};

}  // namespace colonnade::host
