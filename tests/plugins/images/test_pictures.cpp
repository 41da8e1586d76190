// Decoding and preprocessing against Pillow, on the fixtures of tests/oracles/images, and hostile files.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
// jpeglib.h wants cstdio before it.
#include <jpeglib.h>

#include "colonnade/error.h"
#include "colonnade/json.h"
#include "colonnade/random.h"
#include "plugins/images/picture.h"

namespace colonnade::images {
namespace {

using Catch::Contains;

std::string read_fixture(const std::string& name) {
  std::ifstream stream(std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/images/" + name, std::ios::binary);
  REQUIRE(stream);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::uint8_t> from_hex(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  constexpr int kHex = 16;
  for (std::size_t i = 0; i < text.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, kHex)));
  return bytes;
}

/// A grey progressive JPEG of 8 by 8 that brings in one coefficient a scan, bit by bit.
std::string jpeg_of_scans(int scans) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long count = 0;
  jpeg_mem_dest(&info, &bytes, &count);
  info.image_width = info.image_height = 8;
  info.input_components = 1;
  info.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&info);
  constexpr int kBits = 10;
  std::vector<jpeg_scan_info> script = {{1, {0}, 0, 0, 0, 0}};
  for (int i = 0; i + 1 < scans; ++i) {
    const int coefficient = 1 + i / kBits, low = kBits - 1 - i % kBits;
    script.push_back({1, {0}, coefficient, coefficient, low == kBits - 1 ? 0 : low + 1, low});
  }
  info.scan_info = script.data();
  info.num_scans = static_cast<int>(script.size());
  jpeg_start_compress(&info, TRUE);
  std::array<JSAMPLE, 8> row{0, 30, 60, 90, 120, 150, 180, 210};
  JSAMPROW start = row.data();
  for (int y = 0; y < 8; ++y) jpeg_write_scanlines(&info, &start, 1);
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string file(reinterpret_cast<const char*>(bytes), count);
  std::free(bytes);
  return file;
}

struct Difference {
  int most = 0;
  double mean = 0;
};

Difference difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  REQUIRE(a.size() == b.size());
  Difference result;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const int each = std::abs(static_cast<int>(a[i]) - static_cast<int>(b[i]));
    result.most = std::max(result.most, each);
    result.mean += static_cast<double>(each) / static_cast<double>(a.size());
  }
  return result;
}

TEST_CASE("every kind of PNG and JPEG is decoded as Pillow decodes it") {
  const Json expected = Json::parse(read_fixture("expected.json"));
  REQUIRE(expected.size() == 13);
  for (const auto& [name, entry] : expected.items()) {
    CAPTURE(name);
    const Picture picture = decode(read_fixture(name), {});
    CHECK(picture.width == entry.at("width").get<std::int64_t>());
    CHECK(picture.height == entry.at("height").get<std::int64_t>());
    const Difference found = difference(picture.pixels, from_hex(entry.at("pixels")));
    // Pillow brings a JPEG library of its own, whose inverse transform may round otherwise.
    CHECK(found.most <= (name.ends_with(".jpg") ? 1 : 0));
    CHECK(found.mean < 0.1);
  }
}

TEST_CASE("a background shows through where a picture is transparent") {
  const Json entry = Json::parse(read_fixture("expected.json")).at("alpha.png");
  const Picture picture = decode(read_fixture("alpha.png"), {true, {255, 255, 255}});
  CHECK(difference(picture.pixels, from_hex(entry.at("on_white"))).most <= 1);
}

TEST_CASE("the shorter side is resampled and the middle cut out as Pillow does it, to the byte") {
  const Json expected = Json::parse(read_fixture("expected.json"));
  int compared = 0;
  for (const auto& [name, entry] : expected.items()) {
    if (!entry.contains("resized")) continue;
    // From Pillow's own pixels, so that only the resampling is compared.
    const Picture picture{entry.at("width"), entry.at("height"), from_hex(entry.at("pixels"))};
    for (const Json& each : entry.at("resized")) {
      CAPTURE(name, each[0], each[1]);
      const Picture ready = crop_centre(resize_shorter(picture, each[0]), each[1]);
      CHECK(difference(ready.pixels, from_hex(each[2])).most == 0);
      ++compared;
    }
  }
  CHECK(compared == 9);
}

TEST_CASE("a picture larger than the crop is cut, a smaller one stands in the middle of black") {
  Picture picture{2, 1, {10, 20, 30, 40, 50, 60}};
  const Picture framed = crop_centre(picture, 4);
  CHECK(framed.pixels.size() == 48);
  CHECK(std::count(framed.pixels.begin(), framed.pixels.end(), 0) == 42);
  CHECK(framed.row(2)[3] == 10);
  CHECK_THROWS_WITH(resize(Picture{}, 3, 3), Contains("without pixels"));
  CHECK_THROWS_WITH(resize_shorter(Picture{1, 100000, std::vector<std::uint8_t>(300000)}, 224), Contains("too narrow"));
}

/// Decodes and says what was thrown; anything else than an input error ends the test.
std::string outcome(const std::string& bytes) {
  try {
    decode(bytes, {true, {1, 2, 3}});
    return "decoded";
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::input);
    return error.what();
  }
}

TEST_CASE("truncated pictures are errors at whatever byte they end") {
  for (const char* name : {"colour.png", "palette.png", "sampled.jpg", "progressive.jpg", "inks.jpg"}) {
    const std::string whole = read_fixture(name);
    CHECK(outcome(whole) == "decoded");
    // The last bytes of either format say only that nothing follows.
    for (std::size_t length = 0; length + 16 < whole.size(); length += 1 + length / 16) {
      CAPTURE(name, length);
      CHECK(outcome(whole.substr(0, length)) != "decoded");
    }
  }
}

TEST_CASE("damaged bytes are an error or another picture, never a crash") {
  const RandomStream random(5);
  std::uint64_t draw = 0;
  for (const char* name : {"colour.png", "alpha.png", "one_bit.png", "sampled.jpg", "progressive.jpg", "grey.jpg"}) {
    const std::string whole = read_fixture(name);
    for (int trial = 0; trial < 300; ++trial) {
      std::string bytes = whole;
      for (int change = 0; change < 1 + trial % 4; ++change) {
        bytes[random.below(draw, bytes.size())] = static_cast<char>(random.below(draw + 1, 256));
        draw += 2;
      }
      outcome(bytes);
    }
  }
}

TEST_CASE("a JPEG of more scans than encoders write is refused, since each passes over the whole picture") {
  CHECK(decode(jpeg_of_scans(100), {}).pixels.size() == 3 * 64);
  CHECK_THAT(outcome(jpeg_of_scans(101)), Contains("a damaged JPEG: it has more than 100 scans"));
}

TEST_CASE("a header that announces more than there can be is refused before memory is asked for") {
  std::string png = read_fixture("colour.png");
  constexpr std::size_t kWidth = 16;
  png[kWidth] = 0x7f;
  CHECK_THAT(outcome(png), Contains("damaged PNG"));
  CHECK_THAT(outcome(""), Contains("empty"));
  CHECK_THAT(outcome("GIF89a"), Contains("neither PNG nor JPEG"));
  CHECK_THAT(outcome("\xff\xd8"), Contains("damaged JPEG"));
}

}  // namespace
}  // namespace colonnade::images
