#include "kernel/study/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <chrono>
#include <string_view>
#include <thread>

#include "colonnade/error.h"
#include "colonnade/text.h"
#include "kernel/store/files.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view before_crc = "{\"crc\":\"";
constexpr std::size_t crc_digits = 8;
constexpr std::string_view before_event = "\",\"event\":";
constexpr std::size_t event_start = before_crc.size() + crc_digits + before_event.size();
constexpr mode_t file_mode = 0644;
// Readers that ask whether a run is live hold a shared lock for an instant.
constexpr int lock_attempts = 25;
constexpr auto lock_pause = std::chrono::milliseconds(20);
constexpr std::size_t read_size = 1 << 16;

std::string checksum(std::string_view text) {
  const auto crc = ::crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size()));
  return fmt::format("{:08x}", crc);
}

std::string to_line(const Json& event) {
  const std::string text = json_text(event);
  return fmt::format("{}{}{}{}}}\n", before_crc, checksum(text), before_event, text);
}

// The event of a line without its end, or null if the line is not whole.
Json from_line(std::string_view line) {
  const bool framed = line.size() > event_start + 1 && line.starts_with(before_crc) && line.back() == '}' &&
                      line.substr(before_crc.size() + crc_digits, before_event.size()) == before_event;
  if (!framed) return nullptr;
  const std::string_view text = line.substr(event_start, line.size() - event_start - 1);
  if (checksum(text) != line.substr(before_crc.size(), crc_digits)) return nullptr;
  const Json event = Json::parse(text, nullptr, false);
  return event.is_object() ? event : Json(nullptr);
}

std::string read_all(int fd, const fs::path& file) {
  std::string bytes;
  std::string buffer(read_size, '\0');
  while (true) {
    const auto count = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(bytes.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error("read", file, errno);
    if (count == 0) return bytes;
    bytes.append(buffer, 0, static_cast<std::size_t>(count));
  }
}

JournalContents parse(const std::string& bytes, const fs::path& file) {
  JournalContents contents;
  std::vector<std::string> damage;  // since the last whole line: damage only if another whole line follows
  std::size_t start = 0;
  for (int number = 1; start < bytes.size(); ++number) {
    const auto end = bytes.find('\n', start);
    if (end == std::string::npos) break;
    Json event = from_line(std::string_view(bytes).substr(start, end - start));
    start = end + 1;
    if (event.is_null()) {
      damage.push_back(fmt::format("{}:{}: damaged line, left out", file.string(), number));
      continue;
    }
    contents.damage.insert(contents.damage.end(), damage.begin(), damage.end());
    damage.clear();
    contents.events.push_back(std::move(event));
    contents.whole_bytes = start;
  }
  return contents;
}

class FileJournal : public Journal {
 public:
  explicit FileJournal(const fs::path& file)
      : file_(file), fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, file_mode)) {
    if (fd_.number() < 0) throw_file_error("open", file_, errno);
    lock();
    contents_ = parse(read_all(fd_.number(), file_), file_);
    if (::ftruncate(fd_.number(), static_cast<off_t>(contents_.whole_bytes)) != 0)
      throw_file_error("cut off the torn end of", file_, errno);
    size_ = contents_.whole_bytes;
  }

  const JournalContents& contents() const override { return contents_; }

  void append(Json event) override {
    pending_ += to_line(event);
    contents_.events.push_back(std::move(event));
  }

  void commit() override {
    if (pending_.empty()) return;
    try {
      write_all(fd_.number(), pending_.data(), pending_.size(), file_);
    } catch (const Error&) {
      // Half a line would spoil the next one, should writing succeed later.
      [[maybe_unused]] const int ignored = ::ftruncate(fd_.number(), static_cast<off_t>(size_));
      throw;
    }
    size_ += pending_.size();
    pending_.clear();
    if (::fdatasync(fd_.number()) != 0) throw_file_error("sync", file_, errno);
  }

 private:
  void lock() {
    for (int attempt = 0; attempt < lock_attempts; ++attempt) {
      if (::flock(fd_.number(), LOCK_EX | LOCK_NB) == 0) return;
      if (errno != EWOULDBLOCK && errno != EINTR) throw_file_error("lock", file_, errno);
      std::this_thread::sleep_for(lock_pause);
    }
    throw Error(ErrorKind::environment, fmt::format("{}: another process is executing this run; wait for it or end it",
                                                    file_.parent_path().filename().string()));
  }

  fs::path file_;
  FileDescriptor fd_;
  JournalContents contents_;
  std::uint64_t size_ = 0;  // of the file, up to its last whole line
  std::string pending_;
};

}  // namespace

JournalContents read_journal(const fs::path& file) {
  const FileDescriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.number() < 0 && errno == ENOENT) return {};
  if (fd.number() < 0) throw_file_error("open", file, errno);
  return parse(read_all(fd.number(), file), file);
}

bool is_live(const fs::path& journal_file) {
  const FileDescriptor fd(::open(journal_file.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.number() < 0) return false;
  return ::flock(fd.number(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

std::unique_ptr<Journal> Journal::open(const fs::path& file) {
  return std::make_unique<FileJournal>(file);
}

}  // namespace colonnade::host
