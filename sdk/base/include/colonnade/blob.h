#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "colonnade/hash.h"

namespace colonnade {

enum class DType : std::uint8_t { boolean, u8, i8, i16, i32, i64, f16, bf16, f32, f64 };

std::size_t dtype_size(DType dtype);
std::string_view dtype_name(DType dtype);     // "f32", ...
DType dtype_from_name(std::string_view name);  // throws Error(input)

// An immutable dense tensor: dtype, shape, row-major bytes. Cheap to copy (shares its memory). The memory may be a read-only
// mapping of a file in the store: writing through it ends the worker with a message that names the op. Any thread may read.
class Blob {
 public:
  Blob();  // f32, shape [0]
  // Copies `bytes` (dtype_size * product of shape of them).
  static Blob copy(DType dtype, std::vector<std::int64_t> shape, const void* bytes);
  // Shares memory kept alive by `owner`.
  static Blob share(DType dtype, std::vector<std::int64_t> shape, const void* bytes, std::shared_ptr<const void> owner);
  template <typename T>
  static Blob of(DType dtype, const std::vector<T>& elements, std::vector<std::int64_t> shape = {}) {
    if (shape.empty()) shape = {static_cast<std::int64_t>(elements.size())};
    return copy_exactly(dtype, std::move(shape), elements.data(), elements.size() * sizeof(T));
  }

  DType dtype() const;
  const std::vector<std::int64_t>& shape() const;
  std::int64_t elements() const;
  std::size_t size() const;  // bytes
  const std::byte* data() const;
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data());
  }
  const std::shared_ptr<const void>& owner() const;

  // SHA-256 of encode([dtype name, shape...]) and the bytes; computed once, kept.
  Hash content_hash() const;
  // Tells the hash to a blob just read and verified from the store, so that it is not computed again.
  void set_known_hash(const Hash& hash) const;

 private:
  // Throws Error(input) unless `size` bytes are what the shape takes.
  static Blob copy_exactly(DType dtype, std::vector<std::int64_t> shape, const void* bytes, std::size_t size);

  struct Body;
  std::shared_ptr<Body> body_;
};

}  // namespace colonnade
