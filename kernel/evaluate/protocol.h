#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "colonnade/json.h"

namespace colonnade::host {

// What coordinator and workers say to each other: documents, each framed as 4 bytes of magic, 8 bytes of length (little
// endian) and its canonical encoding. Every document is an object with a "type":
//
//   coordinator -> worker   evaluate: a task (task.h); cancel: the task under way shall end
//   worker -> coordinator   ready, heartbeat, started, progress, done, failed, cancelled, damaged, environment
//
// README.md lists their fields.
std::string encode_frame(const Json& message);

// Cuts a stream of bytes into messages. Bytes may arrive torn at any place. Error(environment) on bytes that are no
// frame or announce more than the limit.
class FrameReader {
 public:
  static constexpr std::size_t kMaxMessageBytes = std::size_t{256} << 20;

  void feed(std::string_view bytes) { buffer_.append(bytes); }
  std::optional<Json> next();

 private:
  std::string buffer_;
  std::size_t consumed_ = 0;
};

// Writes all bytes to a blocking socket; false if the other side is gone.
bool send_all(int fd, std::string_view bytes);

}  // namespace colonnade::host
