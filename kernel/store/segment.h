#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "colonnade/hash.h"
#include "kernel/store/files.h"

// A trace segment: records, one after the other, and nothing else. A record is a 64-byte header
//   0  "CLTR"                     4  CRC-32 of the record's offset in the file and of the header from byte 8
//   8  size of the body, 8 bytes  16 CRC-32 of the body, 4 bytes; 20 zeros
//   24 key, 32 bytes              56 digest of the op's id, 8 bytes
// and the body, canonically encoded. Little endian. The offset binds a record to its place, so that bytes inside a body
// are never taken for a record when a damaged stretch is skipped.
namespace colonnade::host {

struct RecordHeader {
  char magic[4];
  std::uint32_t header_crc;
  std::uint64_t size;
  std::uint32_t body_crc;
  std::uint32_t zero;
  Hash key;
  std::uint64_t op_digest;
};

struct RecordPlace {
  RecordHeader header;
  std::uint64_t offset = 0;  // of the header
  std::uint64_t end() const { return offset + sizeof(RecordHeader) + header.size; }
};

std::uint64_t op_digest(const std::string& op);

// Header and body as they stand at `offset` of a segment.
std::string make_record(const Hash& key, const std::string& op, std::string_view body, std::uint64_t offset);

// Calls `visit` for every record from `from` on whose header is whole and whose body lies within the file; skips what
// is damaged. Bodies are not read. Returns the end of the last record found, or `from`.
std::uint64_t scan_segment(int descriptor, std::uint64_t from, std::uint64_t file_size,
                           const std::function<void(const RecordPlace&)>& visit);

// The segments of a traces/ folder, sorted.
std::vector<std::filesystem::path> segments_of(const std::filesystem::path& folder);

// The body, or nothing if it is damaged.
std::optional<std::string> read_body(int descriptor, const RecordPlace& place);

// The one segment that a coordinator appends to, locked while it lives.
class SegmentWriter {
 public:
  // Takes over an unlocked small segment of `folder`, cutting off a record torn at its end, or makes a new one.
  static SegmentWriter acquire(const std::filesystem::path& folder, const std::filesystem::path& temporary_folder);
  const std::filesystem::path& path() const { return path_; }
  int descriptor() const { return descriptor_.number(); }
  std::uint64_t size() const { return size_; }

  // Writes and fsyncs. On failure the file is cut back to what it was, and the Error(environment) names it.
  void append(std::string_view records);
  // Goes on with another file, locked, of `size` bytes, that has been renamed to the same path.
  void replace(FileDescriptor descriptor, std::uint64_t size);

 private:
  std::filesystem::path path_;
  FileDescriptor descriptor_;
  std::uint64_t size_ = 0;
};

// Opens and locks the segment; nothing if another process has it, or it was replaced meanwhile.
std::optional<FileDescriptor> lock_segment(const std::filesystem::path& file);

}  // namespace colonnade::host
