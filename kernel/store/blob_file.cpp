#include "kernel/store/blob_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // the widest instructions that the processor has
#else
#include <xxhash.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>

#include "colonnade/error.h"

namespace colonnade::host {

namespace {

static_assert(std::endian::native == std::endian::little, "blob files are mapped as they are: little endian");

constexpr std::string_view magic = "CLNBLOB2";
constexpr std::size_t alignment = 64;
constexpr std::size_t bits_per_byte = 8;
// Below this, packing saves no page worth the unpacking.
constexpr std::size_t smallest_packed = 64 * 1024;

struct FixedHeader {
  char magic[8];
  std::uint32_t header_size;
  std::uint8_t dtype;
  Packing packing;
  std::uint16_t rank;
  std::uint64_t bytes;
  std::uint64_t stored;
  std::uint64_t checksum;
};
static_assert(sizeof(FixedHeader) == 40 && std::is_trivially_copyable_v<FixedHeader>);

std::string make_header(DType dtype, const std::vector<std::int64_t>& shape, std::uint64_t bytes, Packing packing,
                        std::uint64_t stored, std::uint64_t checksum) {
  const std::size_t extents = shape.size() * sizeof(std::int64_t);
  const std::size_t size = (sizeof(FixedHeader) + extents + alignment - 1) / alignment * alignment;
  FixedHeader fixed{{},
                    static_cast<std::uint32_t>(size),
                    static_cast<std::uint8_t>(dtype),
                    packing,
                    static_cast<std::uint16_t>(shape.size()),
                    bytes,
                    stored,
                    checksum};
  std::memcpy(fixed.magic, magic.data(), sizeof(fixed.magic));
  std::string header(size, '\0');
  std::memcpy(header.data(), &fixed, sizeof(fixed));
  if (extents > 0) std::memcpy(header.data() + sizeof(fixed), shape.data(), extents);
  return header;
}

std::uint64_t checksum_of(const Hash& hash, std::uint64_t content) {
  std::array<std::uint8_t, sizeof(hash.bytes) + sizeof(content)> both;
  std::memcpy(both.data(), hash.bytes.data(), sizeof(hash.bytes));
  std::memcpy(both.data() + sizeof(hash.bytes), &content, sizeof(content));
  return XXH3_64bits(both.data(), both.size());
}

// The elements that are not all zero bits, or more than `limit` of them.
template <typename Element>
std::size_t count_nonzero(const char* bytes, std::size_t count, std::size_t limit) {
  constexpr std::size_t block = 4096;
  std::size_t nonzero = 0;
  for (std::size_t i = 0; i < count && nonzero <= limit; i += block) {
    const std::size_t here = std::min(block, count - i);
    for (std::size_t k = 0; k < here; ++k) {
      Element element;
      std::memcpy(&element, bytes + (i + k) * sizeof(Element), sizeof(Element));
      nonzero += element != 0;
    }
  }
  return nonzero;
}

// The packed bytes, or nothing where packing does not halve them. `Element` has the size of the tensor's.
template <typename Element>
std::optional<std::string> pack_elements(const char* bytes, std::size_t count) {
  const std::size_t bitmap = (count + bits_per_byte - 1) / bits_per_byte;
  const std::size_t limit = count * sizeof(Element) / 2;
  if (bitmap > limit) return std::nullopt;
  const std::size_t nonzero = count_nonzero<Element>(bytes, count, (limit - bitmap) / sizeof(Element));
  if (bitmap + nonzero * sizeof(Element) > limit) return std::nullopt;
  std::string packed(bitmap + nonzero * sizeof(Element), '\0');
  std::size_t next = bitmap;
  for (std::size_t i = 0; i < count; ++i) {
    Element element;
    std::memcpy(&element, bytes + i * sizeof(Element), sizeof(Element));
    if (element == 0) continue;
    packed[i / bits_per_byte] = static_cast<char>(packed[i / bits_per_byte] | 1 << i % bits_per_byte);
    std::memcpy(packed.data() + next, &element, sizeof(Element));
    next += sizeof(Element);
  }
  return packed;
}

std::optional<std::string> pack_nonzero(const Blob& blob) {
  if (blob.size() < smallest_packed) return std::nullopt;
  const auto* bytes = reinterpret_cast<const char*>(blob.data());
  const std::size_t count = static_cast<std::size_t>(blob.elements());
  switch (dtype_size(blob.dtype())) {
    case sizeof(std::uint8_t):
      return pack_elements<std::uint8_t>(bytes, count);
    case sizeof(std::uint16_t):
      return pack_elements<std::uint16_t>(bytes, count);
    case sizeof(std::uint32_t):
      return pack_elements<std::uint32_t>(bytes, count);
    default:
      return pack_elements<std::uint64_t>(bytes, count);
  }
}

template <typename Element>
bool unpack_elements(std::string_view packed, std::size_t count, char* out) {
  const std::size_t bitmap = (count + bits_per_byte - 1) / bits_per_byte;
  if (packed.size() < bitmap) return false;
  std::size_t next = bitmap;
  for (std::size_t byte = 0; byte < bitmap; ++byte) {
    for (auto bits = static_cast<unsigned char>(packed[byte]); bits != 0; bits &= bits - 1) {
      const std::size_t i = byte * bits_per_byte + static_cast<std::size_t>(std::countr_zero(bits));
      if (i >= count || packed.size() - next < sizeof(Element)) return false;
      std::memcpy(out + i * sizeof(Element), packed.data() + next, sizeof(Element));
      next += sizeof(Element);
    }
  }
  return next == packed.size();
}

// False unless `packed` is exactly what packing a tensor of this size can give. `out` is zero before.
bool unpack_nonzero(std::string_view packed, const BlobRef& blob, char* out) {
  const std::size_t size = dtype_size(blob.dtype);
  const std::size_t count = blob.bytes / size;
  switch (size) {
    case sizeof(std::uint8_t):
      return unpack_elements<std::uint8_t>(packed, count, out);
    case sizeof(std::uint16_t):
      return unpack_elements<std::uint16_t>(packed, count, out);
    case sizeof(std::uint32_t):
      return unpack_elements<std::uint32_t>(packed, count, out);
    default:
      return unpack_elements<std::uint64_t>(packed, count, out);
  }
}

struct OpenedBlob {
  std::shared_ptr<const Mapping> file;
  std::size_t header_size = 0;
  Packing packing = Packing::plain;
  std::uint64_t checksum = 0;

  std::string_view content() const { return file->bytes().substr(header_size); }
};

OpenedBlob open_blob_file(const std::filesystem::path& file, const BlobRef& expected,
                          const std::shared_ptr<MappedRanges>& ranges, std::string& damage) {
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!descriptor.is_open() && errno == ENOENT) {
    damage = fmt::format("{} is missing", file.string());
    return {};
  }
  if (!descriptor.is_open() || ::fstat(descriptor.number(), &status) != 0) throw_file_error("open", file, errno);
  const auto file_size = static_cast<std::size_t>(status.st_size);
  if (file_size < sizeof(FixedHeader)) {
    damage = fmt::format("{} is cut off after {} bytes", file.string(), file_size);
    return {};
  }
  OpenedBlob opened;
  opened.file = Mapping::of_file(descriptor.number(), file_size, ranges);
  if (!opened.file) throw_file_error("map", file, errno);
  FixedHeader fixed;
  std::memcpy(&fixed, opened.file->data(), sizeof(fixed));
  opened.packing = fixed.packing;
  opened.checksum = fixed.checksum;
  opened.header_size = plain_blob_header(expected.dtype, expected.shape).size();
  const std::uint64_t stored = file_size - std::min(file_size, opened.header_size);
  const std::string header =
      make_header(expected.dtype, expected.shape, expected.bytes, opened.packing, stored, opened.checksum);
  const bool known = opened.packing == Packing::plain ? stored == expected.bytes : opened.packing == Packing::nonzero;
  if (!known || opened.file->bytes().substr(0, header.size()) != header) {
    damage = fmt::format("{} is damaged: its header or its size is not that of a {} tensor of {} bytes", file.string(),
                         dtype_name(expected.dtype), expected.bytes);
    return {};
  }
  return opened;
}

}  // namespace

BlobChecksum::BlobChecksum() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_64bits_reset(static_cast<XXH3_state_t*>(state_.get()));
}

void BlobChecksum::Free::operator()(void* state) const {
  XXH3_freeState(static_cast<XXH3_state_t*>(state));
}

void BlobChecksum::update(const void* bytes, std::size_t size) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state_.get()), bytes, size);
}

std::uint64_t BlobChecksum::finish() const {
  return XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state_.get()));
}

std::string plain_blob_header(DType dtype, const std::vector<std::int64_t>& shape) {
  const std::size_t bytes = Blob::share(dtype, shape, nullptr, nullptr).size();
  return make_header(dtype, shape, bytes, Packing::plain, bytes, 0);
}

void seal_blob_file(TemporaryFile& file, const Hash& hash, const BlobChecksum& content) {
  const std::uint64_t checksum = checksum_of(hash, content.finish());
  file.write_at(offsetof(FixedHeader, checksum), &checksum, sizeof(checksum));
}

TemporaryFile write_blob_file(const std::filesystem::path& temporary_folder, const Hash& hash, const Blob& blob) {
  const std::optional<std::string> packed = pack_nonzero(blob);
  const std::string_view bytes =
      packed ? std::string_view(*packed) : std::string_view(reinterpret_cast<const char*>(blob.data()), blob.size());
  TemporaryFile file(temporary_folder);
  file.write(make_header(blob.dtype(), blob.shape(), blob.size(), packed ? Packing::nonzero : Packing::plain,
                         bytes.size(), checksum_of(hash, XXH3_64bits(bytes.data(), bytes.size()))));
  file.write(bytes);
  return file;
}

MappedBlob map_blob_file(const std::filesystem::path& file, const BlobRef& expected, BlobCheck check,
                         const std::shared_ptr<MappedRanges>& ranges, std::string& damage) {
  const OpenedBlob opened = open_blob_file(file, expected, ranges, damage);
  if (!opened.file) return {};
  const std::string_view content = opened.content();
  if (check != BlobCheck::header &&
      checksum_of(expected.hash, XXH3_64bits(content.data(), content.size())) != opened.checksum) {
    damage = fmt::format("{} is damaged: its content is not what it is named after", file.string());
    return {};
  }
  MappedBlob result{opened.file, opened.file->data() + opened.header_size};
  if (opened.packing == Packing::nonzero) {
    bool whole = expected.bytes > 0;
    if (whole) {
      result.owner = Mapping::of_memory(expected.bytes, ranges,
                                        [&](char* out) { whole = unpack_nonzero(content, expected, out); });
      result.bytes = result.owner->data();
    }
    if (!whole) {
      damage = fmt::format("{} is damaged: it cannot be unpacked", file.string());
      return {};
    }
  }
  if (check == BlobCheck::content_hash &&
      Blob::share(expected.dtype, expected.shape, result.bytes, result.owner).content_hash() != expected.hash) {
    damage = fmt::format("{} is damaged: its content is not what it is named after", file.string());
    return {};
  }
  return result;
}

std::optional<BlobRef> read_blob_header(const std::filesystem::path& file) {
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  FixedHeader fixed;
  struct stat status {};
  if (!descriptor.is_open() && errno == ENOENT) return std::nullopt;
  if (!descriptor.is_open() || ::fstat(descriptor.number(), &status) != 0) throw_file_error("open", file, errno);
  if (!read_exactly(descriptor.number(), &fixed, sizeof(fixed), 0)) return std::nullopt;
  if (std::string_view(fixed.magic, sizeof(fixed.magic)) != magic) return std::nullopt;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (fixed.header_size > size || size - fixed.header_size != fixed.stored) return std::nullopt;
  if (fixed.dtype > static_cast<std::uint8_t>(DType::f64)) return std::nullopt;
  BlobRef blob;
  blob.dtype = static_cast<DType>(fixed.dtype);
  blob.bytes = fixed.bytes;
  blob.shape.resize(fixed.rank);
  if (!read_exactly(descriptor.number(), blob.shape.data(), fixed.rank * sizeof(std::int64_t), sizeof(fixed))) {
    return std::nullopt;
  }
  std::uint64_t bytes = dtype_size(blob.dtype);
  for (const std::int64_t extent : blob.shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) return std::nullopt;
  }
  if (bytes != blob.bytes) return std::nullopt;
  try {
    blob.hash = Hash::from_hex(file.filename().string());
  } catch (const Error&) {
    return std::nullopt;
  }
  return blob;
}

}  // namespace colonnade::host
