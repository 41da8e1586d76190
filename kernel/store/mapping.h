#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

namespace colonnade::host {

// The address ranges that a store has mapped. Threads add and remove; `contains` takes no lock and allocates nothing,
// so that a fault handler may ask. Lives as long as its last mapping.
class MappedRanges {
 public:
  MappedRanges() = default;
  ~MappedRanges();
  MappedRanges(const MappedRanges&) = delete;
  MappedRanges& operator=(const MappedRanges&) = delete;

  void add(std::uintptr_t begin, std::uintptr_t end);
  void remove(std::uintptr_t begin);
  bool contains(std::uintptr_t address) const;

 private:
  static constexpr std::size_t slots_per_chunk = 512;
  struct Slot {
    std::atomic<std::uintptr_t> begin{0}, end{0};
  };
  struct Chunk {
    std::array<Slot, slots_per_chunk> slots;
    std::atomic<Chunk*> next{nullptr};
  };
  std::mutex changing_;
  Chunk first_;
};

// A read-only mapping: writing to it faults. Unmapped by its last owner.
class Mapping {
 public:
  // Of the whole file. Null (with errno set) if it cannot be mapped; `size` must be its size, and not 0.
  static std::shared_ptr<const Mapping> of_file(int descriptor, std::size_t size, std::shared_ptr<MappedRanges> ranges);
  // Memory of `size` bytes, filled by `fill(char*)`, then sealed. Throws std::bad_alloc.
  template <typename Fill>
  static std::shared_ptr<const Mapping> of_memory(std::size_t size, std::shared_ptr<MappedRanges> ranges, Fill fill) {
    std::shared_ptr<Mapping> mapping = allocate(size, std::move(ranges));
    fill(mapping->address_);
    mapping->seal();
    return mapping;
  }
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const char* data() const { return address_; }
  std::string_view bytes() const { return {address_, size_}; }

 private:
  Mapping(char* address, std::size_t size, std::shared_ptr<MappedRanges> ranges);
  static std::shared_ptr<Mapping> allocate(std::size_t size, std::shared_ptr<MappedRanges> ranges);
  void seal();
  char* address_;
  std::size_t size_;
  std::shared_ptr<MappedRanges> ranges_;
};

}  // namespace colonnade::host
