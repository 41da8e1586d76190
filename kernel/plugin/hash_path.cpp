#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "kernel/plugin/catalogue.h"
#include "kernel/plugin/file_hashes.h"

namespace colonnade::host {

namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw Error(ErrorKind::usage, fmt::format("{}: {}", path.string(), why));
}

[[noreturn]] void refuse_missing(const std::filesystem::path& path) {
  std::vector<std::string> siblings;
  std::error_code error;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    siblings.push_back(entry.path().filename().string());
  }
  std::sort(siblings.begin(), siblings.end());
  refuse(path, "there is no such file or folder" + did_you_mean(path.filename().string(), siblings));
}

// One walk over a file or a folder.
class PathHasher {
 public:
  explicit PathHasher(FileHashes& hashes) : hashes_(hashes) {}

  Hash hash(const std::filesystem::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      if (errno == ENOENT) refuse_missing(path);
      refuse(path, std::strerror(errno));
    }
    if (S_ISREG(status.st_mode)) return hash_bytes(encode(Json::array({"file", file_hash(path, status).hex()})));
    if (!S_ISDIR(status.st_mode)) refuse(path, "is neither a file nor a folder");
    add_folder(path, "", status);
    std::sort(entries_.begin(), entries_.end());
    Json document = Json::array({"folder"});
    for (const auto& [name, content] : entries_) document.push_back(Json::array({name, content}));
    return hash_bytes(encode(document));
  }

 private:
  Hash file_hash(const std::filesystem::path& file, const struct stat& status) {
    try {
      return hashes_.hash(file, identity_of(status));
    } catch (const Error& error) {
      throw Error(ErrorKind::usage, error.what());
    }
  }

  void add_folder(const std::filesystem::path& folder, const std::string& prefix, const struct stat& status) {
    const std::pair<std::uint64_t, std::uint64_t> identity(status.st_dev, status.st_ino);
    if (!open_.insert(identity).second) refuse(folder, "is a link to a folder that it lies in");
    std::error_code error;
    std::filesystem::directory_iterator entries(folder, error);
    for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
      const std::filesystem::path& path = entries->path();
      const std::string name = prefix + path.filename().string();
      struct stat entry {};
      if (::stat(path.c_str(), &entry) != 0) refuse(path, std::strerror(errno));
      if (S_ISDIR(entry.st_mode)) {
        entries_.emplace_back(name + "/", "");
        add_folder(path, name + "/", entry);
      } else if (S_ISREG(entry.st_mode)) {
        entries_.emplace_back(name, file_hash(path, entry).hex());
      } else {
        refuse(path, "is neither a file nor a folder");
      }
    }
    if (error) refuse(folder, error.message());
    open_.erase(identity);
  }

  FileHashes& hashes_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> open_;  // folders on the way down
  std::vector<std::pair<std::string, std::string>> entries_;
};

}  // namespace

Hash hash_path(const std::filesystem::path& path, const std::filesystem::path& cache_folder) {
  FileHashes& hashes = FileHashes::in(cache_folder);
  const Hash hash = PathHasher(hashes).hash(path);
  hashes.save();
  return hash;
}

}  // namespace colonnade::host
