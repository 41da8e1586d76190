#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernel/store/segment.h"
#include "kernel/store/store.h"

namespace colonnade::host {

Json to_json(const Trace& trace);
Trace trace_from_json(const Json& document);  // throws Error(input)

// All traces of a store: where each record lies, by key and by op; a trace is decoded when it is first asked for, and
// stays at its address for good. A record that proves damaged is left out.
class TraceIndex {
 public:
  TraceIndex(std::filesystem::path folder, std::filesystem::path temporary_folder);

  std::vector<const Trace*> with_key(const Hash& key) const;  // oldest record first
  std::vector<const Trace*> of_op(const std::string& op) const;

  void add(Trace trace);  // buffered
  void commit();          // on failure everything stays buffered
  void refresh();

  // Writes the segments again without the traces that `keep` refuses, except segments that another process appends to.
  // `dry_run` changes nothing. Returns the traces that stay.
  std::vector<const Trace*> retain(const std::function<bool(const Trace&)>& keep, bool dry_run);

 private:
  struct Segment {
    std::filesystem::path path;
    FileDescriptor descriptor;
    FileIdentity identity;
    std::uint64_t scanned = 0;
  };
  struct Entry {
    Segment* segment = nullptr;  // null while buffered
    RecordPlace place;
    std::unique_ptr<Trace> trace;
    bool dead = false;  // damaged, or dropped
  };
  struct Buffered {
    Entry* entry;
    std::string body;
  };

  const Trace* trace_of(Entry& entry) const;
  void scan(const std::filesystem::path& file);
  void insert(Segment& segment, const RecordPlace& place);
  bool is_known(const RecordPlace& place) const;
  bool retain_in(Segment& segment, const std::function<bool(const Trace&)>& keep, bool dry_run);
  void write_again(Segment& segment, const FileDescriptor& locked, const std::set<const Entry*>& dropped);

  std::filesystem::path folder_, temporary_folder_;
  std::vector<std::unique_ptr<Segment>> segments_;
  mutable std::deque<Entry> entries_;
  std::unordered_map<Hash, std::vector<Entry*>> by_key_;
  std::unordered_map<std::uint64_t, std::vector<Entry*>> by_op_;
  std::vector<Buffered> buffered_;
  std::optional<SegmentWriter> writer_;
};

}  // namespace colonnade::host
