#include "kernel/store/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "colonnade/error.h"
#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

constexpr std::int64_t nanoseconds_per_second = 1'000'000'000;

std::int64_t to_ns(const timespec& time) {
  return time.tv_sec * nanoseconds_per_second + time.tv_nsec;
}

// Opens and locks a temporary file, creating it if it is not there.
FileDescriptor open_locked(const std::filesystem::path& temporary) {
  while (true) {
    FileDescriptor descriptor(::open(temporary.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!descriptor.is_open()) throw_file_error("create", temporary, errno);
    if (::flock(descriptor.number(), LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      throw_file_error("lock", temporary, errno);
    }
    struct stat mine {
    }, there{};
    const bool same = ::fstat(descriptor.number(), &mine) == 0 && ::stat(temporary.c_str(), &there) == 0 &&
                      mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
    if (same) return descriptor;  // else another process has renamed or cleared it away meanwhile
  }
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  close();
}

void FileDescriptor::close() {
  if (number_ >= 0) ::close(number_);
  number_ = -1;
}

FileIdentity identity_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size), to_ns(status.st_mtim),
          to_ns(status.st_ctim)};
}

std::optional<FileIdentity> file_identity(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return identity_of(status);
}

void throw_file_error(const std::string& action, const std::filesystem::path& file, int error_number) {
  throw Error(ErrorKind::environment,
              fmt::format("cannot {} {}: {}", action, file.string(), std::generic_category().message(error_number)));
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error && !std::filesystem::is_directory(folder)) throw_file_error("create folder", folder, error.value());
}

void write_all(int descriptor, const void* bytes, std::size_t size, const std::filesystem::path& file) {
  const char* next = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::write(descriptor, next, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_file_error("write", file, errno);
    }
    next += written;
    size -= static_cast<std::size_t>(written);
  }
}

void sync_file(int descriptor, const std::filesystem::path& file) {
  if (::fsync(descriptor) != 0) throw_file_error("sync", file, errno);
}

void sync_folder(const std::filesystem::path& folder) {
  const FileDescriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor.is_open()) throw_file_error("open folder", folder, errno);
  sync_file(descriptor.number(), folder);
}

void rename_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_file_error("rename " + from.string() + " to", to, errno);
}

std::optional<std::string> read_file_if_there(const std::filesystem::path& file) {
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!descriptor.is_open() || ::fstat(descriptor.number(), &status) != 0 || !S_ISREG(status.st_mode))
    return std::nullopt;
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  if (!read_exactly(descriptor.number(), bytes.data(), bytes.size(), 0)) return std::nullopt;
  return bytes;
}

bool read_exactly(int descriptor, void* bytes, std::size_t size, std::uint64_t offset) {
  char* next = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t count = ::pread(descriptor, next, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    next += count;
    size -= static_cast<std::size_t>(count);
    offset += static_cast<std::uint64_t>(count);
  }
  return true;
}

std::string unique_name() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof(number), 0) != sizeof(number)) {
    throw Error(ErrorKind::environment, "the system gives no random bytes for a file name");
  }
  return fmt::format("{:016x}", number);
}

TemporaryFile::TemporaryFile(const std::filesystem::path& folder)
    : path_(folder / unique_name()), descriptor_(open_locked(path_)) {}

TemporaryFile::TemporaryFile(TemporaryFile&& other) noexcept
    : path_(std::exchange(other.path_, {})), descriptor_(std::move(other.descriptor_)) {}

TemporaryFile::~TemporaryFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

void TemporaryFile::write_at(std::uint64_t offset, const void* bytes, std::size_t size) {
  const char* next = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::pwrite(descriptor_.number(), next, size, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_file_error("write", path_, errno);
    next += written;
    offset += static_cast<std::uint64_t>(written);
    size -= static_cast<std::size_t>(written);
  }
}

void TemporaryFile::start_writing_back() {
  ::sync_file_range(descriptor_.number(), 0, 0, SYNC_FILE_RANGE_WRITE);
}

void TemporaryFile::publish(const std::filesystem::path& target) {
  rename_file(path_, target);
  path_.clear();
}

void remove_abandoned_files(const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::directory_iterator end;
  for (std::filesystem::directory_iterator entry(folder, error); !error && entry != end; entry.increment(error)) {
    const std::string file = entry->path().string();
    const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    // Who has created it but not locked it yet waits for this lock, and then sees that the file is gone.
    if (descriptor.is_open() && ::flock(descriptor.number(), LOCK_EX | LOCK_NB) == 0) ::unlink(file.c_str());
  }
}

void write_file_atomically(const std::filesystem::path& file, std::string_view bytes) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  const std::filesystem::path temporary = folder / ("." + file.filename().string() + ".tmp");
  // A fixed name, so that what a killed process leaves is taken over by the next one.
  const FileDescriptor descriptor = open_locked(temporary);
  try {
    if (::ftruncate(descriptor.number(), 0) != 0) throw_file_error("truncate", temporary, errno);
    write_all(descriptor.number(), bytes.data(), bytes.size(), file);
    sync_file(descriptor.number(), file);
    rename_file(temporary, file);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(folder);
}

}  // namespace colonnade::host
