#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "colonnade/hash.h"
#include "kernel/store/files.h"

namespace colonnade::host {

// SHA-256 of files' contents, remembered by what identifies a file's state (device, inode, size, times) in an
// append-only file of `cache_folder` (none if that is empty). A file changed within the last seconds is hashed but not
// remembered: a further change might leave its times as they are. Lines that are torn or damaged are left out; losing
// the file costs time only.
class FileHashes {
 public:
  // The one for this folder; lives as long as the process. Calls into one object from one thread at a time.
  static FileHashes& in(const std::filesystem::path& cache_folder);

  explicit FileHashes(const std::filesystem::path& cache_folder);
  // Throws Error(environment) if it cannot be read.
  Hash hash(const std::filesystem::path& file, const FileIdentity& identity);
  // Writes what was added. A cache that cannot be written is no error.
  void save();

 private:
  void load();
  void compact();
  std::filesystem::path file_;
  std::map<FileIdentity, Hash> known_;
  std::string unsaved_;
  std::size_t lines_ = 0;
};

// True if the file was last changed so recently that its times may not tell its next state from this one.
bool is_fresh(const FileIdentity& identity);

}  // namespace colonnade::host
