#include "kernel/store/folder_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <set>

#include "colonnade/error.h"
#include "kernel/store/files.h"

namespace colonnade::host {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view temporary_ending = ".part";
// A writer needs a moment between making its folder and locking it.
constexpr std::int64_t abandoned_after_seconds = 60;

fs::path without_links(const fs::path& folder) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(fs::absolute(folder), error);
  if (error) throw_file_error("look at", folder, error.value());
  return real.has_filename() ? real : real.parent_path();
}

bool is_inside(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

FileDescriptor locked_folder(const fs::path& folder) {
  FileDescriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor.is_open() || ::flock(descriptor.number(), LOCK_EX | LOCK_NB) != 0) return FileDescriptor();
  return descriptor;
}

// What killed writers of the same folder left.
void remove_abandoned(const fs::path& parent, const std::string& opening) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(opening) || !name.ends_with(temporary_ending)) continue;
    struct stat status {};
    if (::stat(entry.path().c_str(), &status) != 0) continue;
    if (std::time(nullptr) - status.st_mtim.tv_sec < abandoned_after_seconds) continue;
    if (locked_folder(entry.path()).is_open()) fs::remove_all(entry.path(), error);
  }
}

void write_file(const fs::path& file, const Blob& bytes, bool synced) {
  const FileDescriptor descriptor(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!descriptor.is_open()) throw_file_error("create", file, errno);
  write_all(descriptor.number(), bytes.data(), bytes.size(), file);
  if (synced) sync_file(descriptor.number(), file);
}

void write_files(const fs::path& folder, const std::map<std::string, Blob>& files, bool synced) {
  std::set<fs::path> folders = {folder};
  for (const auto& [name, bytes] : files) {
    const fs::path file = folder / name;
    make_folder(file.parent_path());
    write_file(file, bytes, synced);
    for (fs::path above = file.parent_path(); above != folder; above = above.parent_path()) folders.insert(above);
  }
  if (!synced) return;
  for (const fs::path& written : folders) sync_folder(written);
}

// Afterwards `temporary` holds what stood at `folder`, if anything did.
void exchange(const fs::path& temporary, const fs::path& folder) {
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) throw_file_error("replace", folder, errno);
  // Some file systems cannot exchange: then the folder is missing for a moment.
  const fs::path aside = temporary.string() + ".old";
  rename_file(folder, aside);
  rename_file(temporary, folder);
  rename_file(aside, temporary);
}

}  // namespace

void refuse_occupied(const fs::path& folder, bool replace) {
  const fs::path real = without_links(folder);
  std::error_code error;
  if (!fs::exists(real, error)) return;
  if (!fs::is_directory(real, error)) {
    throw Error(ErrorKind::usage, fmt::format("{} is there and is no folder; name another place", folder.string()));
  }
  if (fs::is_empty(real, error)) return;
  if (!replace)
    throw Error(ErrorKind::usage, fmt::format("the folder {} is not empty; --force replaces it", folder.string()));
  if (is_inside(fs::current_path(), real)) {
    throw Error(ErrorKind::usage,
                fmt::format("the folder {} holds the one you work in and will not be replaced; name another place",
                            folder.string()));
  }
}

void write_folder_atomically(const fs::path& folder, const std::map<std::string, Blob>& files, bool replace) {
  refuse_occupied(folder, replace);
  const fs::path target = without_links(folder);
  const fs::path parent = target.parent_path();
  make_folder(parent);
  const std::string opening = fmt::format(".{}.", target.filename().string());
  remove_abandoned(parent, opening);
  const fs::path temporary = parent / fmt::format("{}{}{}", opening, unique_name(), temporary_ending);
  make_folder(temporary);
  const FileDescriptor lock = locked_folder(temporary);
  std::error_code error;
  // What replaces another is on the disk before that goes.
  const bool replaces = fs::exists(target, error) && !fs::is_empty(target, error);
  try {
    write_files(temporary, files, replaces);
    if (fs::exists(target, error) && !fs::is_empty(target, error)) {
      refuse_occupied(folder, replace);  // somebody may have written there meanwhile
      exchange(temporary, target);
    } else {
      rename_file(temporary, target);
    }
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  if (replaces) sync_folder(parent);
  fs::remove_all(temporary, error);
}

}  // namespace colonnade::host
