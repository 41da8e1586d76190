#include "shards.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "colonnade/error.h"

namespace colonnade::dare {

namespace {

constexpr const char* kWeights = ".safetensors";
/// The name that a single file gets, whose own is no part of what the op is given.
constexpr const char* kSingle = "model.safetensors";
/// What stands beside weights and makes them a model that others can open.
const std::set<std::string> kBeside = {".json", ".txt", ".model", ".jinja"};

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(ErrorKind::input, path + ": " + why);
}

void add_weights(Shards& folder, const std::string& name, const std::string& path) {
  auto file = std::make_unique<Shard>(path);
  for (const auto& [tensor, entry] : file->header().tensors) {
    const auto [there, is_new] = folder.tensors.emplace(tensor, Shards::Place{file.get(), &entry});
    if (is_new) continue;
    refuse(folder.path, "tensor '" + tensor + "' lies in " + there->second.file->header().path + " and in " + path);
  }
  folder.weights.emplace(name, std::move(file));
}

}  // namespace

Shard::Shard(const std::string& path) : header_(open_safetensors(path)) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
    const int error = errno;
    if (descriptor_ >= 0) ::close(descriptor_);
    refuse(path, std::string("cannot be opened: ") + std::strerror(error));
  }
  size_ = data_start_ = static_cast<std::uint64_t>(status.st_size);
  for (const auto& [name, entry] : header_.tensors) {
    order_.push_back(name);
    data_start_ = std::min(data_start_, entry.begin);
  }
  const auto place = [&](const std::string& name) {
    const SafetensorsEntry& entry = header_.tensors.at(name);
    return std::pair(entry.begin, entry.end);
  };
  std::stable_sort(order_.begin(), order_.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
}

Shard::~Shard() {
  ::close(descriptor_);
}

void Shard::read(std::uint64_t offset, void* bytes, std::uint64_t count) const {
  auto* next = static_cast<char*>(bytes);
  while (count > 0) {
    const ssize_t got = ::pread(descriptor_, next, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) refuse(header_.path, "cannot be read at byte " + std::to_string(offset) + ": it has changed");
    next += got;
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::uint64_t>(got);
  }
}

Shards open_shards(const std::string& path) {
  Shards folder;
  folder.path = path;
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    add_weights(folder, kSingle, path);
    return folder;
  }
  std::string found;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    const std::string name = entry.path().filename().string(), extension = entry.path().extension().string();
    if (!entry.is_regular_file() || name.starts_with('.')) continue;
    found += (found.empty() ? "" : ", ") + name;
    if (extension == kWeights) {
      add_weights(folder, name, entry.path().string());
    } else if (kBeside.contains(extension)) {
      folder.others.emplace(name, entry.path().string());
    }
  }
  if (error) refuse(path, "cannot be listed: " + error.message());
  if (folder.weights.empty()) {
    refuse(path, "has no file *.safetensors" + (found.empty() ? "; it is empty" : "; there are: " + found));
  }
  return folder;
}

}  // namespace colonnade::dare
