#pragma once

#include <memory>
#include <vector>

#include "colonnade/blob_writer.h"
#include "kernel/store/blob_file.h"

namespace colonnade::host {

// A blob's file that was written piece by piece, in tmp/ until it is published: it is what keeps the blob's memory, a
// mapping of it, alive. Goes away unpublished with the blob.
struct WrittenBlob {
  TemporaryFile file;
  BlobChecksum checksum;
  std::shared_ptr<const Mapping> mapping;
};

// Remembers what its sinks wrote for as long as it lives, so that putting such a blob need not write it again.
class WrittenBlobs {
 public:
  // Writes plain, whatever the bytes are.
  std::unique_ptr<BlobSink> sink(const std::filesystem::path& temporary_folder, DType dtype,
                                 const std::vector<std::int64_t>& shape, std::shared_ptr<MappedRanges> ranges);
  // The file of a blob that a sink gave, once, sealed; nothing of any other.
  std::optional<TemporaryFile> take(const Hash& hash, const Blob& blob);

 private:
  friend class FileSink;
  std::vector<std::weak_ptr<WrittenBlob>> written_;
};

}  // namespace colonnade::host
