#include "kernel/store/segment.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

static_assert(sizeof(RecordHeader) == 64 && std::is_trivially_copyable_v<RecordHeader>);

constexpr std::string_view magic = "CLTR";
constexpr std::uint64_t small_segment = 64ull << 20;
constexpr std::size_t header_crc_from = 8;

std::uint32_t crc(std::string_view bytes, std::uint32_t start = 0) {
  return static_cast<std::uint32_t>(
      ::crc32_z(start, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

std::uint32_t header_crc(const RecordHeader& header, std::uint64_t offset) {
  const auto* bytes = reinterpret_cast<const char*>(&header);
  const std::uint32_t place = crc({reinterpret_cast<const char*>(&offset), sizeof(offset)});
  return crc({bytes + header_crc_from, sizeof(header) - header_crc_from}, place);
}

// A window on the file that moves forward, so that a segment of any size is read in pieces.
class Window {
 public:
  Window(int descriptor, std::uint64_t file_size) : descriptor_(descriptor), file_size_(file_size) {}

  // At least `least` bytes at `offset`, more where the window holds them; empty if the file has not that many.
  std::string_view at(std::uint64_t offset, std::size_t least) {
    if (offset > file_size_ || file_size_ - offset < least) return {};
    if (offset < start_ || offset + least > start_ + bytes_.size()) {
      bytes_.resize(std::min<std::uint64_t>(std::max<std::size_t>(piece, least), file_size_ - offset));
      start_ = offset;
      if (!read_exactly(descriptor_, bytes_.data(), bytes_.size(), offset)) bytes_.clear();
      if (bytes_.size() < least) return {};
    }
    return std::string_view(bytes_).substr(offset - start_);
  }

 private:
  static constexpr std::size_t piece = 1 << 20;
  int descriptor_;
  std::uint64_t file_size_;
  std::uint64_t start_ = 0;
  std::string bytes_;
};

bool is_header(const RecordHeader& header, std::uint64_t offset, std::uint64_t file_size) {
  return std::string_view(header.magic, sizeof(header.magic)) == magic &&
         header.header_crc == header_crc(header, offset) && header.size <= file_size - offset - sizeof(header);
}

// Where the next record belongs: after the last one, or in its place if its body was torn.
std::uint64_t sound_end(int descriptor, std::uint64_t file_size) {
  RecordPlace last;
  const std::uint64_t end = scan_segment(descriptor, 0, file_size, [&](const RecordPlace& place) { last = place; });
  return end == 0 || read_body(descriptor, last) ? end : last.offset;
}

}  // namespace

std::uint64_t op_digest(const std::string& op) {
  std::uint64_t digest;
  const Hash hash = hash_bytes(op);
  std::memcpy(&digest, hash.bytes.data(), sizeof(digest));
  return digest;
}

std::string make_record(const Hash& key, const std::string& op, std::string_view body, std::uint64_t offset) {
  RecordHeader header{{}, 0, body.size(), crc(body), 0, key, op_digest(op)};
  std::memcpy(header.magic, magic.data(), magic.size());
  header.header_crc = header_crc(header, offset);
  std::string record(sizeof(header), '\0');
  std::memcpy(record.data(), &header, sizeof(header));
  record += body;
  return record;
}

std::uint64_t scan_segment(int descriptor, std::uint64_t from, std::uint64_t file_size,
                           const std::function<void(const RecordPlace&)>& visit) {
  Window window(descriptor, file_size);
  std::uint64_t end = from;
  std::uint64_t offset = from;
  while (true) {
    const std::string_view bytes = window.at(offset, sizeof(RecordHeader));
    if (bytes.empty()) return end;
    RecordPlace place;
    place.offset = offset;
    std::memcpy(&place.header, bytes.data(), sizeof(place.header));
    if (is_header(place.header, offset, file_size)) {
      visit(place);
      offset = end = place.end();
      continue;
    }
    const std::size_t next = bytes.find(magic, 1);
    offset += next != std::string_view::npos ? next : bytes.size() - magic.size() + 1;
  }
}

std::optional<std::string> read_body(int descriptor, const RecordPlace& place) {
  std::string body(place.header.size, '\0');
  if (!read_exactly(descriptor, body.data(), body.size(), place.offset + sizeof(RecordHeader))) return std::nullopt;
  if (crc(body) != place.header.body_crc) return std::nullopt;
  return body;
}

std::vector<std::filesystem::path> segments_of(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".trace") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<FileDescriptor> lock_segment(const std::filesystem::path& file) {
  FileDescriptor descriptor(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (!descriptor.is_open() || ::flock(descriptor.number(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  struct stat mine {
  }, there{};
  if (::fstat(descriptor.number(), &mine) != 0 || ::stat(file.c_str(), &there) != 0) return std::nullopt;
  if (mine.st_ino != there.st_ino || mine.st_dev != there.st_dev) return std::nullopt;
  return descriptor;
}

SegmentWriter SegmentWriter::acquire(const std::filesystem::path& folder,
                                     const std::filesystem::path& temporary_folder) {
  SegmentWriter writer;
  for (const std::filesystem::path& file : segments_of(folder)) {
    const std::optional<FileIdentity> identity = file_identity(file);
    if (!identity || identity->size >= small_segment) continue;
    std::optional<FileDescriptor> descriptor = lock_segment(file);
    if (!descriptor) continue;
    struct stat status {};
    if (::fstat(descriptor->number(), &status) != 0) throw_file_error("look at", file, errno);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    writer.size_ = sound_end(descriptor->number(), size);
    if (writer.size_ < size && ::ftruncate(descriptor->number(), static_cast<off_t>(writer.size_)) != 0) {
      throw_file_error("truncate", file, errno);
    }
    writer.path_ = file;
    writer.descriptor_ = std::move(*descriptor);
    return writer;
  }
  writer.path_ = folder / (unique_name() + ".trace");
  TemporaryFile file(temporary_folder);
  file.publish(writer.path_);
  writer.descriptor_ = file.take_descriptor();
  sync_folder(folder);
  return writer;
}

void SegmentWriter::append(std::string_view records) {
  try {
    if (::lseek(descriptor_.number(), static_cast<off_t>(size_), SEEK_SET) < 0) throw_file_error("write", path_, errno);
    write_all(descriptor_.number(), records.data(), records.size(), path_);
    sync_file(descriptor_.number(), path_);
  } catch (...) {
    // If cutting fails too, the next append starts at the same place and covers what is there.
    [[maybe_unused]] const int ignored = ::ftruncate(descriptor_.number(), static_cast<off_t>(size_));
    throw;
  }
  size_ += records.size();
}

void SegmentWriter::replace(FileDescriptor descriptor, std::uint64_t size) {
  descriptor_ = std::move(descriptor);
  size_ = size;
}

}  // namespace colonnade::host
