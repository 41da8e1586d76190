#include "shards.h"

#include <fcntl.h>
#include <sys/mman.h>
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
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  void* mapped = MAP_FAILED;
  if (descriptor >= 0 && ::fstat(descriptor, &status) == 0) {
    mapped = ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_SHARED, descriptor, 0);
  }
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (mapped == MAP_FAILED) refuse(path, std::string("cannot be read: ") + std::strerror(error));
  bytes_ = static_cast<const std::byte*>(mapped);
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
  ::munmap(const_cast<std::byte*>(bytes_), size_);
}

void Shard::expect(std::uint64_t offset, std::uint64_t count) const {
#ifdef MADV_POPULATE_READ
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t begin = offset / page * page;
  // Where the system knows no such advice, pages come one by one.
  ::madvise(const_cast<std::byte*>(bytes_) + begin, std::min(size_, offset + count) - begin, MADV_POPULATE_READ);
#else
  (void)offset, (void)count;
#endif
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
