#include "kernel/store/trace_index.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "colonnade/encode.h"
#include "colonnade/error.h"

namespace colonnade::host {

Json to_json(const Trace& trace) {
  return {{"key", trace.key.hex()},
          {"op", trace.op},
          {"op_class", trace.op_class},
          {"key_record", trace.key_record},
          {"manifest", to_json(trace.manifest)},
          {"seconds", trace.seconds},
          {"peak_memory", trace.peak_memory},
          {"finished", trace.finished}};
}

Trace trace_from_json(const Json& document) {
  try {
    Trace trace;
    trace.key = Hash::from_hex(document.at("key").get_ref<const std::string&>());
    trace.op = document.at("op").get<std::string>();
    trace.op_class = document.at("op_class").get<std::string>();
    trace.key_record = document.at("key_record");
    trace.manifest = manifest_from_json(document.at("manifest"));
    trace.seconds = document.at("seconds").get<double>();
    trace.peak_memory = document.at("peak_memory").get<std::uint64_t>();
    trace.finished = document.at("finished").get<std::int64_t>();
    return trace;
  } catch (const Json::exception& exception) {
    throw Error(ErrorKind::input, fmt::format("not a trace: {}", exception.what()));
  }
}

TraceIndex::TraceIndex(std::filesystem::path folder, std::filesystem::path temporary_folder)
    : folder_(std::move(folder)), temporary_folder_(std::move(temporary_folder)) {
  refresh();
}

const Trace* TraceIndex::trace_of(Entry& entry) const {
  if (entry.dead || entry.trace) return entry.dead ? nullptr : entry.trace.get();
  entry.dead = true;
  const std::optional<std::string> body = read_body(entry.segment->descriptor.number(), entry.place);
  if (!body) return nullptr;
  try {
    auto trace = std::make_unique<Trace>(trace_from_json(decode(*body)));
    if (trace->key != entry.place.header.key) return nullptr;
    entry.trace = std::move(trace);
  } catch (const Error&) {
    return nullptr;
  }
  entry.dead = false;
  return entry.trace.get();
}

std::vector<const Trace*> TraceIndex::with_key(const Hash& key) const {
  std::vector<const Trace*> traces;
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return traces;
  for (Entry* entry : found->second) {
    if (const Trace* trace = trace_of(*entry)) traces.push_back(trace);
  }
  return traces;
}

std::vector<const Trace*> TraceIndex::of_op(const std::string& op) const {
  std::vector<const Trace*> traces;
  const auto found = by_op_.find(op_digest(op));
  if (found == by_op_.end()) return traces;
  for (Entry* entry : found->second) {
    const Trace* trace = trace_of(*entry);
    if (trace != nullptr && trace->op == op) traces.push_back(trace);
  }
  std::stable_sort(traces.begin(), traces.end(),
                   [](const Trace* a, const Trace* b) { return a->finished < b->finished; });
  return traces;
}

bool TraceIndex::is_known(const RecordPlace& place) const {
  const auto found = by_key_.find(place.header.key);
  if (found == by_key_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const Entry* entry) {
    const RecordHeader& header = entry->place.header;
    return !entry->dead && header.size == place.header.size && header.body_crc == place.header.body_crc;
  });
}

void TraceIndex::insert(Segment& segment, const RecordPlace& place) {
  Entry& entry = entries_.emplace_back();
  entry.segment = &segment;
  entry.place = place;
  by_key_[place.header.key].push_back(&entry);
  by_op_[place.header.op_digest].push_back(&entry);
}

void TraceIndex::scan(const std::filesystem::path& file) {
  FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!descriptor.is_open() || ::fstat(descriptor.number(), &status) != 0) return;
  const FileIdentity identity = identity_of(status);
  const auto same = [&](const auto& segment) {
    return segment->identity.inode == identity.inode && segment->identity.device == identity.device;
  };
  auto found = std::find_if(segments_.begin(), segments_.end(), same);
  // A file of a known name but another inode was written again by someone who collected garbage.
  const bool rewritten =
      found == segments_.end() &&
      std::any_of(segments_.begin(), segments_.end(), [&](const auto& segment) { return segment->path == file; });
  if (found == segments_.end()) {
    auto segment = std::make_unique<Segment>();
    segment->path = file;
    segment->descriptor = std::move(descriptor);
    segment->identity = identity;
    found = segments_.insert(segments_.end(), std::move(segment));
  }
  Segment& segment = **found;
  if (identity.size <= segment.scanned) return;
  segment.scanned =
      scan_segment(segment.descriptor.number(), segment.scanned, identity.size, [&](const RecordPlace& place) {
        if (!rewritten || !is_known(place)) insert(segment, place);
      });
}

void TraceIndex::refresh() {
  for (const std::filesystem::path& file : segments_of(folder_)) scan(file);
}

void TraceIndex::add(Trace trace) {
  const Json document = to_json(trace);
  Entry& entry = entries_.emplace_back();
  entry.place.header.key = trace.key;
  by_key_[trace.key].push_back(&entry);
  by_op_[op_digest(trace.op)].push_back(&entry);
  entry.trace = std::make_unique<Trace>(std::move(trace));
  buffered_.push_back({&entry, encode(document)});
}

void TraceIndex::commit() {
  if (buffered_.empty()) return;
  if (!writer_) {
    writer_ = SegmentWriter::acquire(folder_, temporary_folder_);
    scan(writer_->path());
  }
  const auto same_path = [&](const auto& segment) { return segment->path == writer_->path(); };
  Segment& segment = **std::find_if(segments_.rbegin(), segments_.rend(), same_path);
  std::string records;
  std::vector<RecordPlace> places;
  for (const Buffered& buffered : buffered_) {
    RecordPlace& place = places.emplace_back();
    place.offset = writer_->size() + records.size();
    const Trace& trace = *buffered.entry->trace;
    const std::string record = make_record(trace.key, trace.op, buffered.body, place.offset);
    std::memcpy(&place.header, record.data(), sizeof(place.header));
    records += record;
  }
  writer_->append(records);
  for (std::size_t i = 0; i < buffered_.size(); ++i) {
    buffered_[i].entry->segment = &segment;
    buffered_[i].entry->place = places[i];
  }
  segment.scanned = writer_->size();
  buffered_.clear();
}

std::vector<const Trace*> TraceIndex::retain(const std::function<bool(const Trace&)>& keep, bool dry_run) {
  commit();
  refresh();
  std::set<const Segment*> untouched;
  for (const auto& segment : segments_) {
    if (!retain_in(*segment, keep, dry_run)) untouched.insert(segment.get());
  }
  std::vector<const Trace*> stay;
  for (Entry& entry : entries_) {
    const Trace* trace = trace_of(entry);
    if (trace != nullptr && (untouched.contains(entry.segment) || keep(*trace))) stay.push_back(trace);
  }
  return stay;
}

// False if another process has the segment.
bool TraceIndex::retain_in(Segment& segment, const std::function<bool(const Trace&)>& keep, bool dry_run) {
  const std::optional<FileIdentity> there = file_identity(segment.path);
  if (!there || there->inode != segment.identity.inode) return true;  // replaced; its successor is in the list too
  std::set<const Entry*> dropped;
  for (Entry& entry : entries_) {
    if (entry.segment != &segment) continue;
    const Trace* trace = trace_of(entry);
    if (trace == nullptr || !keep(*trace)) dropped.insert(&entry);
  }
  const bool mine = writer_ && writer_->path() == segment.path;
  std::optional<FileDescriptor> locked;
  if (!mine) {
    locked = lock_segment(segment.path);
    struct stat status {};
    if (!locked || ::fstat(locked->number(), &status) != 0 || status.st_ino != segment.identity.inode) return false;
  }
  if (dry_run || dropped.empty()) return true;
  scan(segment.path);  // what was appended before it was locked: stays
  write_again(segment, mine ? segment.descriptor : *locked, dropped);
  return true;
}

void TraceIndex::write_again(Segment& segment, const FileDescriptor& locked, const std::set<const Entry*>& dropped) {
  TemporaryFile file(temporary_folder_);
  std::uint64_t size = 0;
  std::vector<std::pair<Entry*, RecordPlace>> moved;
  for (Entry& entry : entries_) {
    if (entry.segment != &segment || entry.dead || dropped.contains(&entry)) continue;
    const std::optional<std::string> body = read_body(locked.number(), entry.place);
    if (!body) continue;
    std::string op = entry.trace ? entry.trace->op : trace_of(entry)->op;
    const std::string record = make_record(entry.place.header.key, op, *body, size);
    RecordPlace place;
    place.offset = size;
    std::memcpy(&place.header, record.data(), sizeof(place.header));
    moved.emplace_back(&entry, place);
    file.write(record);
    size += record.size();
  }
  file.sync();
  file.publish(segment.path);
  sync_folder(folder_);
  const bool mine = writer_ && writer_->path() == segment.path;
  for (Entry& entry : entries_) {
    if (dropped.contains(&entry)) entry.dead = true;
  }
  for (auto& [entry, place] : moved) entry->place = place;
  segment.descriptor = FileDescriptor(::open(segment.path.c_str(), O_RDONLY | O_CLOEXEC));
  segment.identity = file_identity(segment.path).value_or(FileIdentity{});
  segment.scanned = size;
  if (mine) writer_->replace(file.take_descriptor(), size);
}

}  // namespace colonnade::host
