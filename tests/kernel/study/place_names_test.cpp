#include "kernel/study/place_names.h"

#include <catch2/catch.hpp>

using namespace colonnade;
using namespace colonnade::host;

TEST_CASE("messages name files without where they lie") {
  NodeRecord node;
  node.params = {{"path", "/home/me/data/model v1"}, {"rest", Json::array({"/mnt/x/texts"})}, {"rank", 3}};
  const auto named = [&](const std::string& message) { return without_places(message, &node); };
  CHECK(named("/home/me/data/model v1/config.json: no such file") == "model v1/config.json: no such file");
  CHECK(named("cannot read '/mnt/x/texts/a/b.txt'") == "cannot read 'texts/a/b.txt'");
  CHECK(named("cannot open /usr/lib/other.so: gone") == "cannot open other.so: gone");
  CHECK(named("see \"/var/log/messages.\", or (/tmp/a/b).") == "see \"messages.\", or (b).");
  CHECK(without_places("in /home/me/data/x.", nullptr) == "in x.");
  CHECK(without_places("/a/b", nullptr) == "b");
  // What only looks like a path.
  for (const std::string text : {"1 / 2", "a/b/c is relative", "http://example.org/a/b", "either/or", "/ alone", "",
                                 "12/34/56", "no /slash", "study.lua:12: wrong"}) {
    CHECK(without_places(text, nullptr) == text);
  }
}
