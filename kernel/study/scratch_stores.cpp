#include "kernel/study/scratch_stores.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <system_error>

#include "kernel/store/files.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

// A lock on a folder that nobody else has, or -1.
int lock_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -1;
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  ::close(fd);
  return -1;
}

void remove_abandoned(const fs::path& parent) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    const int lock = lock_folder(entry.path());
    if (lock < 0) continue;
    fs::remove_all(entry.path(), error);
    ::close(lock);
  }
}

void link_blobs(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    const fs::path target = to / entry.path().lexically_relative(from);
    if (entry.is_directory()) {
      make_folder(target);
    } else {
      fs::create_hard_link(entry.path(), target);
    }
  }
}

}  // namespace

ScratchStores::ScratchStores(const fs::path& parent) : folder_(parent / unique_name()) {
  remove_abandoned(parent);
  make_folder(folder_);
  lock_ = lock_folder(folder_);
}

ScratchStores::~ScratchStores() {
  std::error_code error;
  fs::remove_all(folder_, error);
  if (lock_ >= 0) ::close(lock_);
}

std::unique_ptr<Store> ScratchStores::next() {
  const fs::path store = folder_ / std::to_string(count_);
  const fs::path before = folder_ / std::to_string(count_ - 1) / "blobs";
  make_folder(store / "blobs");
  std::error_code error;
  if (count_++ > 0 && fs::exists(before, error)) link_blobs(before, store / "blobs");
  return Store::open(store, Store::Role::coordinator);
}

}  // namespace colonnade::host
