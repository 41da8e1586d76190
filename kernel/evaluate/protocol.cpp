#include "kernel/evaluate/protocol.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "colonnade/encode.h"
#include "colonnade/error.h"

namespace colonnade::host {

namespace {

constexpr char kMagic[] = {'C', 'L', 'N', '1'};
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kHeaderBytes = sizeof(kMagic) + kLengthBytes;
constexpr std::size_t kCompactBytes = std::size_t{1} << 20;  // consumed bytes are dropped once there are this many

std::uint64_t read_length(const char* bytes) {
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  return length;
}

}  // namespace

std::string encode_frame(const Json& message) {
  std::string frame(kHeaderBytes, '\0');
  encode_to(frame, message);
  std::memcpy(frame.data(), kMagic, sizeof(kMagic));
  const std::uint64_t length = frame.size() - kHeaderBytes;
  for (std::size_t i = 0; i < kLengthBytes; ++i) frame[sizeof(kMagic) + i] = static_cast<char>(length >> (8 * i));
  return frame;
}

std::optional<Json> FrameReader::next() {
  const std::string_view rest = std::string_view(buffer_).substr(consumed_);
  const std::size_t magic_seen = std::min(rest.size(), sizeof(kMagic));
  if (rest.substr(0, magic_seen) != std::string_view(kMagic, magic_seen)) {
    throw Error(ErrorKind::environment,
                "the connection between coordinator and worker carried bytes that are no message");
  }
  if (rest.size() < kHeaderBytes) return std::nullopt;
  const std::uint64_t length = read_length(rest.data() + sizeof(kMagic));
  if (length > kMaxMessageBytes) {
    throw Error(ErrorKind::environment,
                fmt::format("a message between coordinator and worker announces {} bytes; allowed: {}", length,
                            kMaxMessageBytes));
  }
  if (rest.size() - kHeaderBytes < length) return std::nullopt;
  Json message = decode(rest.substr(kHeaderBytes, length));
  consumed_ += kHeaderBytes + length;
  if (consumed_ == buffer_.size() || consumed_ > kCompactBytes) {
    buffer_.erase(0, consumed_);
    consumed_ = 0;
  }
  return message;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace colonnade::host
