#include "colonnade/text.h"

#include <catch2/catch.hpp>
#include <limits>

using namespace colonnade;

TEST_CASE("UTF-8 is told from other bytes") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("plain"));
  CHECK(is_utf8("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x8C\xB3"));
  CHECK(is_utf8(std::string("\0", 1)));
  CHECK(is_utf8("\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF"));  // beside the surrogates, and the last code point
  for (const char* bytes : {"\xff", "\x80", "\xC3", "a\xC3z", "\xE2\x82", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF",
                            "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80"}) {
    INFO(bytes);
    CHECK_FALSE(is_utf8(bytes));
  }
}

// The JSON library refuses what is no UTF-8: an implementation of its own.
TEST_CASE("What is UTF-8 agrees with the JSON library for all short texts of telling bytes") {
  const std::string bytes = "a\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xED\xEE\xEF\xF0\xF1\xF4\xF5\xFF";
  const auto json_takes = [](const std::string& text) {
    try {
      return !Json(text).dump().empty();
    } catch (const Json::type_error&) {
      return false;
    }
  };
  int differences = 0;
  for (const char a : bytes) {
    for (const char b : bytes) {
      for (const char c : bytes) {
        for (const char d : bytes) {
          const std::string text{a, b, c, d};
          differences += is_utf8(text) != json_takes(text);
        }
      }
    }
  }
  CHECK(differences == 0);
}

TEST_CASE("Long text is cut between characters") {
  CHECK(shortened("12345678", 8) == "12345678");
  CHECK(shortened("123456789", 8) == "12345...");
  CHECK(shortened("123\xE2\x82\xAC\xE2\x82\xAC", 8) == "123...");
  CHECK(shortened("12\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC", 8) == "12\xE2\x82\xAC...");
  CHECK(shortened("12345", 2) == "..");
  CHECK(shortened("\x80\x80\x80\x80\x80\x80\x80\x80\x80", 8) == "...");
}

TEST_CASE("Any value can be shown") {
  CHECK(json_text(Json{{"a", "\xff"}}) == "{\"a\":\"\xEF\xBF\xBD\"}");
  CHECK(shown("\xff") == "\"\xEF\xBF\xBD\"");
  CHECK(shown(1.0) == "1.0");
  CHECK(shown(-std::numeric_limits<double>::infinity()) == "-inf");
  CHECK(shown(std::string(100, 'x')) == "\"" + std::string(56, 'x') + "...");
}
