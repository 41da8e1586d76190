#include "colonnade/blob.h"

#include <array>
#include <atomic>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#include "blob_header.h"
#include "colonnade/encode.h"
#include "colonnade/error.h"

namespace colonnade {
namespace {

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  std::size_t size;
};

constexpr std::array<DTypeInfo, 10> kDTypes = {{{DType::boolean, "bool", 1},
                                                {DType::u8, "u8", 1},
                                                {DType::i8, "i8", 1},
                                                {DType::i16, "i16", 2},
                                                {DType::i32, "i32", 4},
                                                {DType::i64, "i64", 8},
                                                {DType::f16, "f16", 2},
                                                {DType::bf16, "bf16", 2},
                                                {DType::f32, "f32", 4},
                                                {DType::f64, "f64", 8}}};

constexpr std::align_val_t kAlignment{64};

const DTypeInfo& info(DType dtype) {
  const auto index = static_cast<std::size_t>(dtype);
  if (index >= kDTypes.size()) throw Error(ErrorKind::input, "no dtype has the number " + std::to_string(index));
  return kDTypes[index];
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

// Refuses shapes whose bytes a 63-bit number cannot count.
std::int64_t count_elements(DType dtype, const std::vector<std::int64_t>& shape) {
  const auto limit = std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(dtype_size(dtype));
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0) throw Error(ErrorKind::input, "shape " + shape_text(shape) + " has a negative extent");
    if (extent != 0 && count > limit / extent) {
      throw Error(ErrorKind::input, "shape " + shape_text(shape) + " is larger than any memory");
    }
    count *= extent;
  }
  return count;
}

std::shared_ptr<void> allocate(std::size_t size) {
  void* memory = ::operator new(size, kAlignment);
  return {memory, [](void* address) { ::operator delete(address, kAlignment); }};
}

}  // namespace

struct Blob::Body {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape{0};
  std::int64_t elements = 0;
  const std::byte* data = nullptr;
  std::shared_ptr<const void> owner;

  std::mutex mutex;  // guards the first write of `hash`; `hash_known` publishes it
  std::atomic<bool> hash_known = false;
  Hash hash;
};

std::size_t dtype_size(DType dtype) {
  return info(dtype).size;
}

std::string_view dtype_name(DType dtype) {
  return info(dtype).name;
}

DType dtype_from_name(std::string_view name) {
  std::vector<std::string> names;
  for (const DTypeInfo& candidate : kDTypes) {
    if (candidate.name == name) return candidate.dtype;
    names.emplace_back(candidate.name);
  }
  const std::string meant = did_you_mean(name, names);
  std::string message = "unknown dtype '" + std::string(name) + "'" + (meant.empty() ? ";" : meant) + " allowed:";
  for (const std::string& candidate : names) message += (candidate == names.front() ? " " : ", ") + candidate;
  throw Error(ErrorKind::input, message);
}

std::string blob_hash_header(DType dtype, const std::vector<std::int64_t>& shape) {
  Json header = Json::array();
  header.push_back(dtype_name(dtype));
  for (const std::int64_t extent : shape) header.push_back(extent);
  return encode(header);
}

Blob::Blob() {
  static const std::shared_ptr<Body> empty = std::make_shared<Body>();
  body_ = empty;
}

Blob Blob::copy(DType dtype, std::vector<std::int64_t> shape, const void* bytes) {
  const auto size = static_cast<std::size_t>(count_elements(dtype, shape)) * dtype_size(dtype);
  std::shared_ptr<void> memory = allocate(size);
  if (size > 0) std::memcpy(memory.get(), bytes, size);
  const void* address = memory.get();
  return share(dtype, std::move(shape), address, std::move(memory));
}

Blob Blob::copy_exactly(DType dtype, std::vector<std::int64_t> shape, const void* bytes, std::size_t size) {
  const auto needed = static_cast<std::size_t>(count_elements(dtype, shape)) * dtype_size(dtype);
  if (size != needed) {
    throw Error(ErrorKind::input, std::to_string(size) + " bytes do not fill a tensor of " +
                                      std::string(dtype_name(dtype)) + " with shape " + shape_text(shape) +
                                      ", which takes " + std::to_string(needed));
  }
  return copy(dtype, std::move(shape), bytes);
}

Blob Blob::share(DType dtype, std::vector<std::int64_t> shape, const void* bytes, std::shared_ptr<const void> owner) {
  auto body = std::make_shared<Body>();
  body->dtype = dtype;
  body->elements = count_elements(dtype, shape);
  body->shape = std::move(shape);
  body->data = static_cast<const std::byte*>(bytes);
  body->owner = std::move(owner);
  Blob blob;
  blob.body_ = std::move(body);
  return blob;
}

DType Blob::dtype() const {
  return body_->dtype;
}

const std::vector<std::int64_t>& Blob::shape() const {
  return body_->shape;
}

std::int64_t Blob::elements() const {
  return body_->elements;
}

std::size_t Blob::size() const {
  return static_cast<std::size_t>(body_->elements) * dtype_size(body_->dtype);
}

const std::byte* Blob::data() const {
  return body_->data;
}

const std::shared_ptr<const void>& Blob::owner() const {
  return body_->owner;
}

Hash Blob::content_hash() const {
  if (body_->hash_known.load(std::memory_order_acquire)) return body_->hash;
  const std::lock_guard lock(body_->mutex);
  if (body_->hash_known.load(std::memory_order_relaxed)) return body_->hash;
  Sha256 sha;
  sha.update(blob_hash_header(dtype(), shape()));
  sha.update(data(), size());
  body_->hash = sha.finish();
  body_->hash_known.store(true, std::memory_order_release);
  return body_->hash;
}

void Blob::set_known_hash(const Hash& hash) const {
  const std::lock_guard lock(body_->mutex);
  if (body_->hash_known.load(std::memory_order_relaxed)) return;
  body_->hash = hash;
  body_->hash_known.store(true, std::memory_order_release);
}

}  // namespace colonnade
