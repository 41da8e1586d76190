#include "bytes.h"

#include <bit>
#include <cstring>

#include "colonnade/error.h"

namespace colonnade::realize {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

namespace {

constexpr int count_bits = 7;
constexpr std::uint8_t more = 0x80;
constexpr int word_bits = 64;

template <typename Number>
Number read(ByteReader& reader) {
  Number value;
  std::memcpy(&value, reader.plain(sizeof(value)).data(), sizeof(value));
  return value;
}

}  // namespace

void ByteWriter::count(std::uint64_t value) {
  while (value >= more) {
    byte(static_cast<std::uint8_t>(value) | more);
    value >>= count_bits;
  }
  byte(static_cast<std::uint8_t>(value));
}

void ByteReader::refuse(const std::string& reason) const {
  throw Error(ErrorKind::input, where_ + ": " + reason);
}

std::string_view ByteReader::plain(std::uint64_t size) {
  if (size > bytes_.size()) {
    refuse("it ends too early: " + std::to_string(size) + " bytes are announced, " + std::to_string(bytes_.size()) +
           " are left");
  }
  const std::string_view result = bytes_.substr(0, size);
  bytes_.remove_prefix(size);
  return result;
}

std::uint8_t ByteReader::byte() {
  return static_cast<std::uint8_t>(plain(1).front());
}

std::uint32_t ByteReader::u32() {
  return read<std::uint32_t>(*this);
}

std::uint64_t ByteReader::u64() {
  return read<std::uint64_t>(*this);
}

float ByteReader::number() {
  return read<float>(*this);
}

std::uint64_t ByteReader::count() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < word_bits; shift += count_bits) {
    const std::uint8_t next = byte();
    const std::uint64_t part = next & (more - 1);
    if ((part << shift) >> shift != part) break;
    value |= part << shift;
    if ((next & more) == 0) return value;
  }
  refuse("a number in it has more than 64 bits");
}

std::uint64_t ByteReader::count_below(std::uint64_t most, const char* what) {
  const std::uint64_t value = count();
  if (value <= most) return value;
  refuse(std::string(what) + " is " + std::to_string(value) + ", at most " + std::to_string(most) + " are possible");
}

}  // namespace colonnade::realize
