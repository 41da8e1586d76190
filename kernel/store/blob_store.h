#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kernel/store/blob_file.h"
#include "kernel/store/store.h"
#include "kernel/store/written_blob.h"

namespace colonnade::host {

// The blobs/ folder of a store: tensors under their content hashes, mapped read-only, verified by their checksums when
// this process first maps them.
class BlobStore {
 public:
  explicit BlobStore(const std::filesystem::path& store);

  // Writes those that are not there yet.
  void put(const std::map<Hash, Blob>& blobs, Durability durability);
  // A blob that is written piece by piece, into a file that `put` has only to publish. Must not outlive this.
  std::unique_ptr<BlobSink> sink(DType dtype, const std::vector<std::int64_t>& shape) {
    return written_.sink(temporary_folder_, dtype, shape, ranges_);
  }
  // Throws DamagedBlob if it is missing or damaged.
  Blob get(const BlobRef& blob);
  // The same for bytes that lie in a trace.
  Blob get_inline(const BlobRef& blob, const std::string& bytes);
  bool has(const Hash& hash) const;

  // Content that proved wrong in this process and could not be moved away counts as absent until it is written again.
  void mark_damaged(const Hash& hash) { damaged_.insert(hash); }
  void mark_sound(const Hash& hash) { damaged_.erase(hash); }
  bool is_damaged(const Hash& hash) const { return damaged_.contains(hash); }

  struct File {
    Hash hash;
    std::filesystem::path path;
    std::uint64_t bytes = 0;
    double age_seconds = 0;
  };
  void for_each_file(const std::function<void(const File&)>& visit) const;
  std::vector<Hash> verify();  // by their content hashes

  const std::shared_ptr<MappedRanges>& ranges() const { return ranges_; }

 private:
  struct Mapped {
    std::weak_ptr<const Mapping> owner;
    const char* bytes = nullptr;
    FileIdentity verified;
  };
  std::filesystem::path file_of(const Hash& hash) const;
  bool is_there(const Hash& hash, const Blob& blob, Durability durability);
  std::string quarantine(const Hash& hash);
  Blob hand_out(const BlobRef& blob, std::shared_ptr<const Mapping> owner, const char* bytes);

  std::filesystem::path folder_, quarantine_folder_, temporary_folder_;
  WrittenBlobs written_;
  std::shared_ptr<MappedRanges> ranges_ = std::make_shared<MappedRanges>();
  std::unordered_map<Hash, Mapped> mapped_;
  std::unordered_set<Hash> damaged_;
};

}  // namespace colonnade::host
