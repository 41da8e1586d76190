#include "kernel/store/blob_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "colonnade/error.h"

namespace colonnade::host {

namespace {

// Each is an open, locked file.
constexpr std::size_t blobs_written_together = 64;
// A younger blob may not be on the disk yet; an older one is touched when it is used again, so that whoever collects
// garbage takes it for a young one.
constexpr double settled_after_seconds = 60;

double age_of(const struct stat& status) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::difftime(now.tv_sec, status.st_mtim.tv_sec);
}

}  // namespace

BlobStore::BlobStore(const std::filesystem::path& store)
    : folder_(store / "blobs"), quarantine_folder_(store / "quarantine"), temporary_folder_(store / "tmp") {}

std::filesystem::path BlobStore::file_of(const Hash& hash) const {
  const std::string name = hash.hex();
  constexpr std::size_t shard_digits = 2;
  return folder_ / name.substr(0, shard_digits) / name;
}

bool BlobStore::has(const Hash& hash) const {
  return !is_damaged(hash) && ::access(file_of(hash).c_str(), F_OK) == 0;
}

bool BlobStore::is_there(const Hash& hash, const Blob& blob, Durability durability) {
  const std::filesystem::path file = file_of(hash);
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return false;
  const std::optional<BlobRef> header = read_blob_header(file);
  const bool sound = header && header->dtype == blob.dtype() && header->shape == blob.shape() && !is_damaged(hash);
  if (!sound) return false;  // written again, over it
  const bool settled = age_of(status) >= settled_after_seconds;
  if (!settled && durability == Durability::power_cut) {
    const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!descriptor.is_open()) return false;
    sync_file(descriptor.number(), file);
    sync_folder(file.parent_path());
  }
  if (settled) ::utimensat(AT_FDCWD, file.c_str(), nullptr, 0);
  return true;
}

void BlobStore::put(const std::map<Hash, Blob>& blobs, Durability durability) {
  struct Written {
    Hash hash;
    TemporaryFile file;
  };
  std::vector<Written> written;
  std::set<std::filesystem::path> folders;
  const auto publish = [&] {
    if (durability == Durability::power_cut) {
      // All at once first, so that the fsyncs of a value's many blobs wait for the disk only once.
      for (Written& blob : written) blob.file.start_writing_back();
      for (Written& blob : written) blob.file.sync();
    }
    for (Written& blob : written) {
      const std::filesystem::path target = file_of(blob.hash);
      const bool fresh = ::access(target.parent_path().c_str(), F_OK) != 0;
      if (fresh) make_folder(target.parent_path());
      blob.file.publish(target);
      folders.insert(target.parent_path());
      if (fresh) folders.insert(folder_);
      damaged_.erase(blob.hash);
      mapped_.erase(blob.hash);
    }
    written.clear();
  };
  for (const auto& [hash, blob] : blobs) {
    if (is_there(hash, blob, durability)) continue;
    std::optional<TemporaryFile> there = written_.take(hash, blob);
    written.push_back({hash, there ? std::move(*there) : write_blob_file(temporary_folder_, hash, blob)});
    if (written.size() == blobs_written_together) publish();
  }
  publish();
  if (durability == Durability::kill) return;
  for (const std::filesystem::path& folder : folders) sync_folder(folder);
}

// What became of the file, as the end of a message.
std::string BlobStore::quarantine(const Hash& hash) {
  const std::filesystem::path file = file_of(hash);
  mapped_.erase(hash);
  damaged_.insert(hash);
  if (::access(file.c_str(), F_OK) != 0) return "";
  const std::filesystem::path target = quarantine_folder_ / (hash.hex() + "-" + unique_name());
  if (::mkdir(quarantine_folder_.c_str(), 0755) != 0 && errno != EEXIST) {
    return fmt::format("; it cannot be moved to {}: {}", quarantine_folder_.string(), std::strerror(errno));
  }
  if (::rename(file.c_str(), target.c_str()) != 0) {
    return fmt::format("; it cannot be moved to {}: {}", target.string(), std::strerror(errno));
  }
  damaged_.erase(hash);
  return "; it was moved to " + target.string();
}

Blob BlobStore::hand_out(const BlobRef& blob, std::shared_ptr<const Mapping> owner, const char* bytes) {
  Blob result = Blob::share(blob.dtype, blob.shape, bytes, std::move(owner));
  result.set_known_hash(blob.hash);
  return result;
}

Blob BlobStore::get(const BlobRef& blob) {
  const std::filesystem::path file = file_of(blob.hash);
  Mapped& known = mapped_[blob.hash];
  if (std::shared_ptr<const Mapping> owner = known.owner.lock()) return hand_out(blob, std::move(owner), known.bytes);
  const std::optional<FileIdentity> identity = file_identity(file);
  std::string damage;
  const bool verified = identity && *identity == known.verified;
  MappedBlob mapped = map_blob_file(file, blob, verified ? BlobCheck::header : BlobCheck::checksum, ranges_, damage);
  if (!mapped.owner) {
    const std::string moved = quarantine(blob.hash);
    throw DamagedBlob(blob.hash, damage + moved);
  }
  known.owner = mapped.owner;
  known.bytes = mapped.bytes;
  known.verified = identity.value_or(FileIdentity{});
  return hand_out(blob, std::move(mapped.owner), mapped.bytes);
}

Blob BlobStore::get_inline(const BlobRef& blob, const std::string& bytes) {
  const auto damaged = [&] {
    mark_damaged(blob.hash);
    return DamagedBlob(blob.hash, fmt::format("the tensor {} in its trace is damaged", blob.hash.short_hex()));
  };
  if (bytes.size() != blob.bytes) throw damaged();
  if (bytes.empty()) {
    const Blob empty = Blob::copy(blob.dtype, blob.shape, "");
    if (empty.content_hash() != blob.hash) throw damaged();
    return empty;
  }
  Mapped& known = mapped_[blob.hash];
  if (std::shared_ptr<const Mapping> owner = known.owner.lock()) return hand_out(blob, std::move(owner), known.bytes);
  std::shared_ptr<const Mapping> owner =
      Mapping::of_memory(bytes.size(), ranges_, [&](char* out) { std::memcpy(out, bytes.data(), bytes.size()); });
  const char* data = owner->data();
  if (Blob::share(blob.dtype, blob.shape, data, owner).content_hash() != blob.hash) throw damaged();
  known.owner = owner;
  known.bytes = data;
  return hand_out(blob, std::move(owner), data);
}

void BlobStore::for_each_file(const std::function<void(const File&)>& visit) const {
  std::error_code error;
  for (const auto& shard : std::filesystem::directory_iterator(folder_, error)) {
    for (const auto& entry : std::filesystem::directory_iterator(shard.path(), error)) {
      struct stat status {};
      if (::stat(entry.path().c_str(), &status) != 0) continue;
      File file;
      file.path = entry.path();
      file.bytes = static_cast<std::uint64_t>(status.st_size);
      file.age_seconds = age_of(status);
      try {
        file.hash = Hash::from_hex(entry.path().filename().string());
      } catch (const Error&) {
        continue;  // not ours
      }
      visit(file);
    }
  }
}

std::vector<Hash> BlobStore::verify() {
  std::vector<Hash> damaged;
  for_each_file([&](const File& file) {
    const std::optional<BlobRef> header = read_blob_header(file.path);
    std::string damage;
    if (header && map_blob_file(file.path, *header, BlobCheck::content_hash, ranges_, damage).owner) return;
    damaged.push_back(file.hash);
  });
  for (const Hash& hash : damaged) quarantine(hash);
  return damaged;
}

}  // namespace colonnade::host
