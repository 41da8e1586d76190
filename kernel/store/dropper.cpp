#include "kernel/store/dropper.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "colonnade/error.h"

namespace colonnade::host {

namespace {

constexpr std::uint64_t kTenths = 10, kTenthsLeft = 9;  // of the quota, so that not every value has to drop another
constexpr std::uint64_t kSmallestBytes = 64 * 1024;     // less is not worth a second

void hold(const FileDescriptor& lock, int how, const std::filesystem::path& file) {
  while (::flock(lock.number(), how) != 0) {
    if (errno != EINTR) throw_file_error("lock", file, errno);
  }
}

std::set<Hash> blobs_of(const Trace& trace) {
  std::set<Hash> blobs;
  for (const auto& [name, field] : trace.manifest.fields) {
    if (field.document_blob) blobs.insert(field.document_blob->hash);
    for (const auto& [tensor, blob] : field.tensors) blobs.insert(blob.hash);
  }
  for (const auto& [hash, bytes] : trace.manifest.inline_blobs) blobs.erase(hash);
  return blobs;
}

class Choice {
 public:
  Choice(const std::vector<const Trace*>& traces, std::unordered_map<Hash, BlobStore::File> files,
         const DropRequest& request)
      : request_(request), files_(std::move(files)) {
    for (const auto& [hash, file] : files_) left_ += file.bytes;
    for (const Trace* trace : traces) {
      for (const auto& [name, field] : trace->manifest.fields) makers_[field.content] = trace;
      const bool may_go = trace->op_class == "bitwise" && request.may_go(*trace);
      if (!may_go) kept_.merge(blobs_of(*trace));
    }
    for (const Trace* trace : traces) {
      if (trace->op_class != "bitwise" || !request.may_go(*trace)) continue;
      const std::uint64_t bytes = gain(*trace);
      if (bytes >= kSmallestBytes) candidates_.push_back({trace, trace->seconds / static_cast<double>(bytes)});
    }
    std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
      return a.seconds_a_byte != b.seconds_a_byte ? a.seconds_a_byte < b.seconds_a_byte : a.trace->key < b.trace->key;
    });
  }

  std::uint64_t bytes_left() const { return left_; }

  Dropped drop() {
    Dropped dropped;
    if (left_ > request_.quota) {
      for (const Candidate& candidate : candidates_) {
        if (left_ <= request_.quota / kTenths * kTenthsLeft) break;
        if (gain(*candidate.trace) < kSmallestBytes || seconds_again(*candidate.trace) > request_.most_seconds)
          continue;
        remove(*candidate.trace);
        dropped.keys.insert(candidate.trace->key);
      }
    }
    dropped.bytes_left = left_;
    return dropped;
  }

 private:
  struct Candidate {
    const Trace* trace;
    double seconds_a_byte;
  };

  bool may_be_removed(const Hash& blob) const {
    const auto file = files_.find(blob);
    return file != files_.end() && !kept_.contains(blob) && file->second.age_seconds >= request_.grace_seconds;
  }

  std::uint64_t gain(const Trace& trace) const {
    std::uint64_t bytes = 0;
    for (const Hash& blob : blobs_of(trace)) {
      if (may_be_removed(blob)) bytes += files_.at(blob).bytes;
    }
    return bytes;
  }

  bool is_gone(const Trace& trace) const {
    const std::set<Hash> blobs = blobs_of(trace);
    return std::any_of(blobs.begin(), blobs.end(), [&](const Hash& blob) { return !files_.contains(blob); });
  }

  // What it takes to have the value again, with those below it that are gone.
  double seconds_again(const Trace& trace) const {
    double seconds = 0;
    std::unordered_set<Hash> seen;
    std::vector<const Trace*> stack = {&trace};
    while (!stack.empty()) {
      const Trace& next = *stack.back();
      stack.pop_back();
      if (!seen.insert(next.key).second) continue;
      if (next.op_class != "bitwise") return std::numeric_limits<double>::infinity();  // not to be had again
      seconds += next.seconds;
      for (const Json& input : next.key_record.value("inputs", Json::array())) {
        const auto maker = makers_.find(Hash::from_hex(input.value("content", "")));
        if (maker == makers_.end()) return std::numeric_limits<double>::infinity();
        if (is_gone(*maker->second)) stack.push_back(maker->second);
      }
    }
    return seconds;
  }

  void remove(const Trace& trace) {
    for (const Hash& blob : blobs_of(trace)) {
      if (!may_be_removed(blob)) continue;
      const BlobStore::File file = files_.at(blob);
      if (::unlink(file.path.c_str()) != 0 && errno != ENOENT) throw_file_error("remove", file.path, errno);
      left_ -= file.bytes;
      files_.erase(blob);
    }
  }

  const DropRequest& request_;
  std::unordered_map<Hash, BlobStore::File> files_;
  std::unordered_map<Hash, const Trace*> makers_;  // by a field's content
  std::set<Hash> kept_;
  std::vector<Candidate> candidates_;
  std::uint64_t left_ = 0;
};

}  // namespace

Dropper::Dropper(std::filesystem::path store)
    : store_(std::move(store)), blobs_(store_), traces_(store_ / "traces", store_ / "tmp") {
  const std::filesystem::path file = store_ / "coordinators";
  lock_ = FileDescriptor(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock_.is_open()) throw_file_error("open", file, errno);
  hold(lock_, LOCK_SH, file);
}

Dropped Dropper::drop(const DropRequest& request) {
  const std::filesystem::path file = store_ / "coordinators";
  if (::flock(lock_.number(), LOCK_EX | LOCK_NB) != 0) {
    hold(lock_, LOCK_SH, file);  // an exchange that fails gives the lock up
    Dropped nothing;
    nothing.in_use = true;
    return nothing;
  }
  std::unordered_map<Hash, BlobStore::File> files;
  std::uint64_t bytes = 0;
  blobs_.for_each_file([&](const BlobStore::File& blob) {
    files[blob.hash] = blob;
    bytes += blob.bytes;
  });
  Dropped dropped;
  dropped.bytes_left = bytes;
  if (bytes > request.quota) {
    const auto all = traces_.retain([](const Trace&) { return true; }, true);
    dropped = Choice(all, std::move(files), request).drop();
  }
  hold(lock_, LOCK_SH, file);
  return dropped;
}

}  // namespace colonnade::host
