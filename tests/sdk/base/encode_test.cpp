#include "colonnade/encode.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "colonnade/error.h"
#include "colonnade/hash.h"
#include "colonnade/random.h"

using namespace colonnade;

namespace {

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    text += kDigits[static_cast<unsigned char>(byte) >> 4];
    text += kDigits[static_cast<unsigned char>(byte) & 0xf];
  }
  return text;
}

std::string word(std::uint64_t value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

Json example_document() {
  Json document = Json::object();
  document["a"] = Json::array({1, 1.0, -0.0, nullptr, true, false});
  document["b"] = Json::object();
  document["b"]["x"] = "ab";
  document["b"]["y"] = Json::binary({0, 255});
  document["big"] = std::uint64_t{1} << 63;
  document["n"] = -5;
  return document;
}

// Documents near each other: any two must differ in their encodings.
std::vector<Json> different_documents() {
  Json swapped = Json::object();
  swapped["a"] = 2;
  swapped["b"] = 1;
  Json ordered = Json::object();
  ordered["a"] = 1;
  ordered["b"] = 2;
  return {nullptr,
          true,
          false,
          0,
          1,
          -1,
          0.0,
          -0.0,
          1.0,
          std::numeric_limits<double>::infinity(),
          -std::numeric_limits<double>::infinity(),
          std::numeric_limits<double>::quiet_NaN(),
          std::numeric_limits<double>::denorm_min(),
          std::numeric_limits<std::int64_t>::max(),
          std::numeric_limits<std::int64_t>::min(),
          std::numeric_limits<std::uint64_t>::max(),
          "",
          "1",
          "a",
          "ab",
          std::string("a\0", 2),
          std::string("\xff\xfe"),
          Json::binary({}),
          Json::binary({'a'}),
          Json::array(),
          Json::object(),
          Json::array({nullptr}),
          Json::array({"ab", "c"}),
          Json::array({"a", "bc"}),
          Json::array({"c", "ab"}),
          Json::array({"abc"}),
          Json::array({1, 2}),
          Json::array({Json::array({1}), 2}),
          Json::array({1, Json::array({2})}),
          ordered,
          swapped,
          example_document()};
}

Json nested_array(int levels) {
  Json document = Json::array();
  for (int level = 1; level < levels; ++level) {
    Json outer = Json::array();
    outer.push_back(std::move(document));
    document = std::move(outer);
  }
  return document;
}

// Decodes hostile bytes: either an Error, or a document whose encoding is what was read.
void check_decodes_or_refuses(const std::string& bytes) {
  Json document;
  try {
    document = decode(bytes);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::input);
    return;
  }
  CHECK(encode(document) == bytes);
}

}  // namespace

TEST_CASE("documents have the bytes that the format says") {
  CHECK(encode(nullptr) == "n");
  CHECK(encode(true) == "t");
  CHECK(encode(false) == "f");
  CHECK(encode(1) == "i" + word(1));
  CHECK(encode(std::uint64_t{1}) == encode(std::int64_t{1}));
  CHECK(encode(-1) == "i" + word(~std::uint64_t{0}));
  CHECK(encode(1.0) == "d" + word(0x3ff0000000000000));
  CHECK(encode(-0.0) == "d" + word(0x8000000000000000));
  CHECK(encode("ab") == "s" + word(2) + "ab");
  CHECK(encode(Json::binary({1, 2})) == "b" + word(2) + "\x01\x02");
  CHECK(encode(Json::array({true})) == "a" + word(1) + "t");
  // Made by an independent program from the written format.
  CHECK(hex(encode(example_document())) ==
        "6f04000000000000000100000000000000616106000000000000006901000000000000006400000000"
        "0000f03f6400000000000000806e74660100000000000000626f0200000000000000010000000000000078730200000000000000616201"
        "000000000000007962020000000000000000ff030000000000000062696775000000000000008001000000000000006e69fbffffffffff"
        "ffff");
  CHECK(hash_bytes(encode(example_document())).hex() ==
        "214ee153a4146d7e49a6aa6918b76947e300bf9ce25d4223f1c18e57b11d0401");
}

TEST_CASE("every NaN has one encoding") {
  const double negative_nan = -std::numeric_limits<double>::quiet_NaN();
  CHECK(encode(std::nan("1")) == "d" + word(0x7ff8000000000000));
  CHECK(encode(std::nan("2")) == encode(negative_nan));
}

TEST_CASE("documents come back as they were") {
  for (const Json& document : different_documents()) {
    const std::string bytes = encode(document);
    const Json decoded = decode(bytes);
    CHECK(encode(decoded) == bytes);
    CHECK(decoded.is_number_float() == document.is_number_float());
    if (!document.is_number_float()) CHECK(decoded == document);
  }
  CHECK(std::signbit(decode(encode(-0.0)).get<double>()));
  CHECK(std::isnan(decode(encode(std::nan(""))).get<double>()));
}

TEST_CASE("different documents differ, and none is the beginning of another") {
  const std::vector<Json> documents = different_documents();
  for (std::size_t i = 0; i < documents.size(); ++i) {
    for (std::size_t j = 0; j < documents.size(); ++j) {
      if (i == j) continue;
      INFO(i << " and " << j);
      CHECK_FALSE(encode(documents[i]).starts_with(encode(documents[j])));
    }
  }
}

TEST_CASE("the order in which an object was filled does not matter") {
  Json one = Json::object(), other = Json::object();
  one["a"] = 1;
  one["b"] = 2;
  other["b"] = 2;
  other["a"] = 1;
  CHECK(encode(one) == encode(other));
}

TEST_CASE("encodings can stand one after the other") {
  std::string bytes;
  for (const Json& document : different_documents()) encode_to(bytes, document);
  std::string_view left = bytes;
  for (const Json& document : different_documents()) CHECK(encode(decode_front(left)) == encode(document));
  CHECK(left.empty());
  CHECK_THROWS_AS(decode_front(left), Error);
  CHECK_THROWS_WITH(decode(encode(1) + "n"), "not a document in the canonical encoding: 1 bytes follow its end");
}

TEST_CASE("nesting is limited alike in both directions") {
  CHECK(decode(encode(nested_array(256))) == nested_array(256));
  CHECK_THROWS_AS(encode(nested_array(257)), Error);
  std::string deep;
  for (int level = 0; level < 100000; ++level) deep += "a" + word(1);
  CHECK_THROWS_WITH(decode(deep + "n"), Catch::Contains("nested deeper than 256 levels"));
}

TEST_CASE("what has no canonical encoding is refused") {
  CHECK_THROWS_AS(encode(Json::binary({1}, 7)), Error);
  CHECK_THROWS_AS(encode(Json(Json::value_t::discarded)), Error);
}

TEST_CASE("bytes that are no canonical encoding are refused") {
  const std::string a = word(1) + "a" + "n", b = word(1) + "b" + "n";
  REQUIRE(decode("o" + word(2) + a + b).size() == 2);
  const std::vector<std::string> bad = {"",
                                        "x",
                                        "o" + word(2) + b + a,
                                        "o" + word(2) + a + a,
                                        "u" + word(5),
                                        "d" + word(0x7ff8000000000001),
                                        "d" + word(0xfff8000000000000),
                                        "s" + word(3) + "ab",
                                        "a" + word(std::uint64_t{1} << 60),
                                        "o" + word(std::uint64_t{1} << 60),
                                        "s" + word(~std::uint64_t{0})};
  for (const std::string& bytes : bad) CHECK_THROWS_AS(decode(bytes), Error);
}

TEST_CASE("an encoding cut short anywhere is refused") {
  for (const Json& document : different_documents()) {
    const std::string bytes = encode(document);
    for (std::size_t size = 0; size < bytes.size(); ++size) CHECK_THROWS_AS(decode(bytes.substr(0, size)), Error);
  }
}

TEST_CASE("an encoding with any bit flipped is refused or is the encoding of another document") {
  for (const Json& document : different_documents()) {
    const std::string bytes = encode(document);
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      std::string flipped = bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      check_decodes_or_refuses(flipped);
    }
  }
}

TEST_CASE("random bytes and random damage are refused or decoded") {
  const RandomStream random(17);
  const std::string bytes = encode(example_document());
  constexpr std::uint64_t kRounds = 5000;
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const RandomStream stream = random.at(round);
    std::string damaged = bytes;
    for (std::uint64_t i = 0; i < 3; ++i) {
      const char replacement = "naosbdiutf\0\1\xff"[stream.below(2 * i, 13)];
      damaged[stream.below(2 * i + 1, damaged.size())] = replacement;
    }
    check_decodes_or_refuses(damaged);
    std::string noise(stream.below(100, 40), '\0');
    for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(stream.at("noise").bits(i));
    check_decodes_or_refuses(noise);
  }
}
