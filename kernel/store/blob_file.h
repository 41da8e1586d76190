#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernel/store/files.h"
#include "kernel/store/mapping.h"
#include "kernel/store/store.h"

// One tensor as a file:
//   0   "CLNBLOB2"
//   8   size of the header, 4 bytes, a multiple of 64
//   12  dtype, 1 byte; 13 packing, 1 byte; 14 rank, 2 bytes
//   16  size of the tensor, 8 bytes; 24 size of what follows the header, 8 bytes
//   32  checksum, 8 bytes: XXH3 of the content hash's 32 bytes and of the XXH3 of what follows the header
//   40  extents, 8 bytes each; zeros up to the header's size
// then the bytes (packing 0), or (packing 1) one bit an element that says whether it is not all zero bits, then the
// elements that are not. Little endian. The name of the file is the tensor's content hash. The checksum finds what
// disks and copies do to a file at the speed of memory, several times that of the content hash.
namespace colonnade::host {

enum class Packing : std::uint8_t { plain = 0, nonzero = 1 };

// The XXH3 of what follows a header, given piece by piece.
class BlobChecksum {
 public:
  BlobChecksum();
  void update(const void* bytes, std::size_t size);
  std::uint64_t finish() const;

 private:
  struct Free {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, Free> state_;
};

// What stands before the bytes of an unpacked tensor, its checksum left open.
std::string plain_blob_header(DType dtype, const std::vector<std::int64_t>& shape);
// Writes the checksum into the header of a file that is whole but for it.
void seal_blob_file(TemporaryFile& file, const Hash& hash, const BlobChecksum& content);

// Writes under a temporary name; the caller fsyncs and publishes.
TemporaryFile write_blob_file(const std::filesystem::path& temporary_folder, const Hash& hash, const Blob& blob);

// The tensor's bytes: those of `owner`, which is either the mapped file or memory where they were unpacked.
struct MappedBlob {
  std::shared_ptr<const Mapping> owner;
  const char* bytes = nullptr;
};

enum class BlobCheck { header, checksum, content_hash };  // each with those before it

// Maps `file` and checks that it holds the tensor `expected`. On failure `damage` says why and `owner` is null. Throws
// Error(environment) where the system refuses to open or map it.
MappedBlob map_blob_file(const std::filesystem::path& file, const BlobRef& expected, BlobCheck check,
                         const std::shared_ptr<MappedRanges>& ranges, std::string& damage);

// Reads what the header says; nothing if it is damaged, cut off or missing. The hash is the one that `file` is named
// after.
std::optional<BlobRef> read_blob_header(const std::filesystem::path& file);

}  // namespace colonnade::host
