#include "kernel/evaluate/protocol.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"

using namespace colonnade;
using namespace colonnade::host;

TEST_CASE("Messages survive being torn at every place", "[protocol]") {
  const Json first = {{"type", "progress"}, {"done", 3}}, second = {{"type", "done"}, {"seconds", 0.5}};
  const std::string bytes = encode_frame(first) + encode_frame(second);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    FrameReader reader;
    std::vector<Json> messages;
    for (const std::string& part : {bytes.substr(0, cut), bytes.substr(cut)}) {
      reader.feed(part);
      while (auto message = reader.next()) messages.push_back(std::move(*message));
    }
    REQUIRE(messages.size() == 2);
    CHECK(messages[0] == first);
    CHECK(messages[1] == second);
  }
}

TEST_CASE("Bytes that are no message are refused at once", "[protocol]") {
  FrameReader reader;
  reader.feed("C:");
  CHECK_THROWS_WITH(reader.next(), "the connection between coordinator and worker carried bytes that are no message");
}

TEST_CASE("A message that announces more than the limit is refused before it is read", "[protocol]") {
  std::string frame = encode_frame(Json::object());
  frame[4 + 5] = 1;  // 2^40 bytes
  FrameReader reader;
  reader.feed(frame);
  CHECK_THROWS_AS(reader.next(), Error);
}

TEST_CASE("A frame whose document is damaged is refused", "[protocol]") {
  std::string frame = encode_frame({{"type", "done"}});
  frame.back() = '\0';
  frame[12] = 'q';
  FrameReader reader;
  reader.feed(frame);
  CHECK_THROWS_AS(reader.next(), Error);
}
