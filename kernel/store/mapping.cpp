#include "kernel/store/mapping.h"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace colonnade::host {

MappedRanges::~MappedRanges() {
  Chunk* chunk = first_.next.load();
  while (chunk != nullptr) delete std::exchange(chunk, chunk->next.load());
}

void MappedRanges::add(std::uintptr_t begin, std::uintptr_t end) {
  const std::lock_guard<std::mutex> lock(changing_);
  for (Chunk* chunk = &first_;; chunk = chunk->next.load()) {
    for (Slot& slot : chunk->slots) {
      if (slot.begin.load(std::memory_order_relaxed) != 0) continue;
      slot.end.store(end, std::memory_order_relaxed);
      slot.begin.store(begin, std::memory_order_release);
      return;
    }
    if (chunk->next.load() == nullptr) chunk->next.store(new Chunk());
  }
}

void MappedRanges::remove(std::uintptr_t begin) {
  const std::lock_guard<std::mutex> lock(changing_);
  for (Chunk* chunk = &first_; chunk != nullptr; chunk = chunk->next.load()) {
    for (Slot& slot : chunk->slots) {
      if (slot.begin.load(std::memory_order_relaxed) != begin) continue;
      slot.begin.store(0, std::memory_order_release);
      return;
    }
  }
}

bool MappedRanges::contains(std::uintptr_t address) const {
  for (const Chunk* chunk = &first_; chunk != nullptr; chunk = chunk->next.load(std::memory_order_acquire)) {
    for (const Slot& slot : chunk->slots) {
      const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
      if (begin != 0 && address >= begin && address < slot.end.load(std::memory_order_relaxed)) return true;
    }
  }
  return false;
}

Mapping::Mapping(char* address, std::size_t size, std::shared_ptr<MappedRanges> ranges)
    : address_(address), size_(size), ranges_(std::move(ranges)) {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  ranges_->add(begin, begin + size);
}

Mapping::~Mapping() {
  ranges_->remove(reinterpret_cast<std::uintptr_t>(address_));
  ::munmap(address_, size_);
}

std::shared_ptr<const Mapping> Mapping::of_file(int descriptor, std::size_t size,
                                                std::shared_ptr<MappedRanges> ranges) {
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) return nullptr;
  return std::shared_ptr<const Mapping>(new Mapping(static_cast<char*>(address), size, std::move(ranges)));
}

std::shared_ptr<Mapping> Mapping::allocate(std::size_t size, std::shared_ptr<MappedRanges> ranges) {
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) throw std::bad_alloc();
  return std::shared_ptr<Mapping>(new Mapping(static_cast<char*>(address), size, std::move(ranges)));
}

void Mapping::seal() {
  ::mprotect(address_, size_, PROT_READ);
}

}  // namespace colonnade::host
