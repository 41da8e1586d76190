#include "kernel/plugin/file_hashes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <memory>

#include "colonnade/error.h"
#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

constexpr std::int64_t nanoseconds_per_second = 1'000'000'000;
constexpr std::int64_t fresh_for_ns = 2 * nanoseconds_per_second;
constexpr std::size_t lines_worth_compacting = 20'000;
constexpr std::size_t hash_digits = 64;
constexpr std::size_t check_digits = 12;

std::string line_of(const FileIdentity& identity, const Hash& hash) {
  std::string line = fmt::format("{} {} {} {} {} {}", identity.device, identity.inode, identity.size,
                                 identity.modified_ns, identity.changed_ns, hash.hex());
  line += " " + hash_bytes(line).short_hex();
  return line;
}

// False for a line that is torn or damaged.
bool read_line(const std::string& line, FileIdentity& identity, Hash& hash) {
  char hash_text[hash_digits + 1], check[check_digits + 1];
  const int fields = std::sscanf(
      line.c_str(), "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNd64 " %64[0-9a-f] %12[0-9a-f]",
      &identity.device, &identity.inode, &identity.size, &identity.modified_ns, &identity.changed_ns, hash_text, check);
  constexpr int all_fields = 7;
  if (fields != all_fields || std::char_traits<char>::length(hash_text) != hash_digits) return false;
  hash = Hash::from_hex(hash_text);
  return line_of(identity, hash) == line;
}

}  // namespace

bool is_fresh(const FileIdentity& identity) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const std::int64_t now_ns = now.tv_sec * nanoseconds_per_second + now.tv_nsec;
  return std::max(identity.modified_ns, identity.changed_ns) > now_ns - fresh_for_ns;
}

FileHashes& FileHashes::in(const std::filesystem::path& cache_folder) {
  static auto* const all = new std::map<std::filesystem::path, std::unique_ptr<FileHashes>>;
  std::unique_ptr<FileHashes>& hashes = (*all)[cache_folder];
  if (!hashes) hashes = std::make_unique<FileHashes>(cache_folder);
  return *hashes;
}

FileHashes::FileHashes(const std::filesystem::path& cache_folder) {
  if (cache_folder.empty()) return;
  file_ = cache_folder / "file_hashes";
  load();
}

void FileHashes::load() {
  const std::optional<std::string> text = read_file_if_there(file_);
  if (!text || text->empty()) return;
  for (std::size_t start = 0; start < text->size();) {
    const std::size_t end = std::min(text->find('\n', start), text->size());
    FileIdentity identity;
    Hash hash;
    if (read_line(text->substr(start, end - start), identity, hash)) known_[identity] = hash;
    ++lines_;
    start = end + 1;
  }
  if (text->back() != '\n') unsaved_ = "\n";  // the next line must not glue onto a torn one
}

Hash FileHashes::hash(const std::filesystem::path& file, const FileIdentity& identity) {
  const auto known = known_.find(identity);
  if (known != known_.end()) return known->second;
  const Hash hash = hash_file(file);
  if (is_fresh(identity) || file_identity(file) != identity) return hash;
  known_[identity] = hash;
  unsaved_ += line_of(identity, hash) + "\n";
  return hash;
}

void FileHashes::save() {
  constexpr std::size_t only_a_line_end = 1;
  if (file_.empty() || unsaved_.size() <= only_a_line_end) return;
  std::error_code error;
  std::filesystem::create_directories(file_.parent_path(), error);
  const FileDescriptor descriptor(::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!descriptor.is_open()) return;
  const ssize_t written = ::write(descriptor.number(), unsaved_.data(), unsaved_.size());
  const bool whole = written == static_cast<ssize_t>(unsaved_.size());
  lines_ += static_cast<std::size_t>(std::count(unsaved_.begin(), unsaved_.end(), '\n'));
  unsaved_ = whole ? "" : "\n";
  if (lines_ > lines_worth_compacting && lines_ > 2 * known_.size()) compact();
}

void FileHashes::compact() {
  std::string text;
  for (const auto& [identity, hash] : known_) text += line_of(identity, hash) + "\n";
  try {
    write_file_atomically(file_, text);
    lines_ = known_.size();
  } catch (const Error&) {
    lines_ = 0;  // not again in this process
  }
}

}  // namespace colonnade::host
