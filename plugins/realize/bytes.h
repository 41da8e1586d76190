// Bytes of a file as they are written, and read back without trusting them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace colonnade::realize {

/// Appends to a string; numbers are little-endian.
class ByteWriter {
 public:
  void byte(std::uint8_t value) { bytes_.push_back(static_cast<char>(value)); }
  void u32(std::uint32_t value) { plain(&value, sizeof(value)); }
  void u64(std::uint64_t value) { plain(&value, sizeof(value)); }
  void number(float value) { plain(&value, sizeof(value)); }
  void plain(const void* data, std::size_t size) { bytes_.append(static_cast<const char*>(data), size); }
  void text(std::string_view bytes) { bytes_.append(bytes); }
  /// Seven bits a byte, the lowest first: small numbers take little.
  void count(std::uint64_t value);

  std::size_t size() const { return bytes_.size(); }
  const std::string& bytes() const { return bytes_; }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

/// Reads what ByteWriter wrote. Throws Error(input) that begins with `where` at the first byte that is missing or
/// impossible; never allocates for bytes that are not there.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

  std::uint8_t byte();
  std::uint32_t u32();
  std::uint64_t u64();
  float number();
  std::string_view plain(std::uint64_t size);
  std::uint64_t count();
  /// A count of at most `most`, else a refusal that names `what`.
  std::uint64_t count_below(std::uint64_t most, const char* what);

  std::size_t left() const { return bytes_.size(); }
  /// What opens messages: the file, and the tensor that is read.
  void set_where(std::string where) { where_ = std::move(where); }
  [[noreturn]] void refuse(const std::string& reason) const;

 private:
  std::string_view bytes_;
  std::string where_;
};

}  // namespace colonnade::realize
