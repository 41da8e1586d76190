#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace colonnade {

// A SHA-256 digest. The all-zero hash means "none".
struct Hash {
  std::array<std::uint8_t, 32> bytes{};

  auto operator<=>(const Hash&) const = default;
  bool is_none() const;
  std::string hex() const;                      // 64 lower-case digits
  std::string short_hex() const;                // the first 12
  static Hash from_hex(std::string_view text);  // throws Error(input) unless 64 hex digits
};

// Incremental SHA-256. Not for use by two threads at once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(const void* data, std::size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  Hash finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Hash hash_bytes(std::string_view bytes);
Hash hash_file(const std::filesystem::path& file);  // throws Error(environment) naming the file

}  // namespace colonnade

template <>
struct std::hash<colonnade::Hash> {
  std::size_t operator()(const colonnade::Hash& hash) const noexcept {
    std::size_t result = 0;
    for (std::size_t i = 0; i < sizeof(result); ++i) result = result << 8 | hash.bytes[i];
    return result;
  }
};
