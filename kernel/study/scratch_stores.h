#pragma once

#include <filesystem>
#include <memory>

#include "kernel/store/store.h"

namespace colonnade::host {

// Stores that live as long as this object, in a folder of their own below `parent`. What killed processes left there is
// removed first. One thread.
class ScratchStores {
 public:
  explicit ScratchStores(const std::filesystem::path& parent);
  ~ScratchStores();
  ScratchStores(const ScratchStores&) = delete;
  ScratchStores& operator=(const ScratchStores&) = delete;

  // An empty store that has the blobs (not the traces) of the one before it.
  std::unique_ptr<Store> next();
  std::filesystem::path logs() const { return folder_ / "logs"; }

 private:
  std::filesystem::path folder_;
  int lock_ = -1;
  int count_ = 0;
};

}  // namespace colonnade::host
