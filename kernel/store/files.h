#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace colonnade::host {

// An owned file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int number) : number_(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~FileDescriptor();
  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  void close();

 private:
  int number_ = -1;
};

// What tells one state of a file from another without reading it.
struct FileIdentity {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified_ns = 0, changed_ns = 0;
  auto operator<=>(const FileIdentity&) const = default;
};
FileIdentity identity_of(const struct stat& status);
std::optional<FileIdentity> file_identity(const std::filesystem::path& file);  // nothing if it cannot be looked at

// All of these throw Error(environment): "cannot ACTION FILE: REASON".
[[noreturn]] void throw_file_error(const std::string& action, const std::filesystem::path& file, int error_number);
void make_folder(const std::filesystem::path& folder);  // with its parents; fine if it is there
void write_all(int descriptor, const void* bytes, std::size_t size, const std::filesystem::path& file);
void sync_file(int descriptor, const std::filesystem::path& file);
void sync_folder(const std::filesystem::path& folder);
void rename_file(const std::filesystem::path& from, const std::filesystem::path& to);

// Nothing if the file does not exist or cannot be read.
std::optional<std::string> read_file_if_there(const std::filesystem::path& file);
// False at the end of the file or on an error.
bool read_exactly(int descriptor, void* bytes, std::size_t size, std::uint64_t offset);

// A file being written in a store's tmp/ folder, locked while it is, so that whoever cleans up sees that it is in use.
// Removed again unless `publish` was called.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& folder);
  TemporaryFile(TemporaryFile&& other) noexcept;
  ~TemporaryFile();
  void write(const void* bytes, std::size_t size) { write_all(descriptor_.number(), bytes, size, path_); }
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  void write_at(std::uint64_t offset, const void* bytes, std::size_t size);  // over what was written
  void start_writing_back();  // towards the disk, without waiting
  void sync() { sync_file(descriptor_.number(), path_); }
  void publish(const std::filesystem::path& target);                   // renames; the caller fsyncs the folder
  FileDescriptor take_descriptor() { return std::move(descriptor_); }  // after publishing
  int descriptor() const { return descriptor_.number(); }

 private:
  std::filesystem::path path_;
  FileDescriptor descriptor_;
};

// Removes what writers that died left in a tmp/ folder: the files that nobody has locked.
void remove_abandoned_files(const std::filesystem::path& folder);

// 16 hexadecimal digits nobody else has.
std::string unique_name();

}  // namespace colonnade::host
