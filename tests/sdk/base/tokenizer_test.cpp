// Byte pairs against Hugging Face's `tokenizers`, on the fixtures of tests/oracles/byte_pairs.py.
#include "colonnade/tokenizer.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "colonnade/byte_pairs.h"
#include "colonnade/error.h"
#include "colonnade/unicode.h"

namespace colonnade {
namespace {

using Catch::Contains;

std::string fixture(const std::string& name) {
  return std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/byte_pairs/" + name;
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  REQUIRE(stream);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::vector<std::int64_t> wide(const std::vector<std::int32_t>& ids) {
  return {ids.begin(), ids.end()};
}

TEST_CASE("byte pairs give the reference's ids and texts on any UTF-8") {
  const Tokenizer tokenizer(read_file(fixture("tokenizer.json")), "tokenizer.json");
  const Json lines = Json::parse(read_file(fixture("lines.json")));
  REQUIRE(lines.size() > 200);
  for (const Json& line : lines) {
    const auto ids = tokenizer.encode(line.at("text").get<std::string>());
    CAPTURE(line.at("text").dump());
    CHECK(ids == line.at("ids").get<std::vector<std::int32_t>>());
    CHECK(tokenizer.decode(wide(ids)) == line.at("decoded").get<std::string>());
  }
}

TEST_CASE("GPT-NeoX's published vocabulary gives the reference's ids") {
  const char* data = std::getenv("COLONNADE_TEST_DATA");
  const std::string path = std::string(data == nullptr ? "" : data) + "/tok/gpt-neox/tokenizer.json";
  if (data == nullptr || !std::filesystem::exists(path)) {
    WARN("skipped: COLONNADE_TEST_DATA names no folder with tok/gpt-neox/tokenizer.json");
    return;
  }
  const Tokenizer tokenizer(read_file(path), path);
  CHECK(tokenizer.size() == 50277);
  const Json lines = Json::parse(read_file(fixture("lines.json")));
  const Json ids = Json::parse(read_file(fixture("neox.json")));
  REQUIRE(ids.size() == lines.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    CAPTURE(lines[i].at("text").dump());
    CHECK(tokenizer.encode(lines[i].at("text").get<std::string>()) == ids[i].get<std::vector<std::int32_t>>());
  }
}

TEST_CASE("what is no UTF-8 becomes as many U+FFFD as Python's decoder puts") {
  using namespace std::string_literals;
  const std::string mark = "\xEF\xBF\xBD";
  const auto marks = [&](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += mark;
    return text;
  };
  CHECK(well_formed("\xCF\xEC\xB2]") == marks(2) + "]");
  CHECK(well_formed("\xF0\x9F\x98") == marks(1));
  CHECK(well_formed("\xF0\x8F\x80") == marks(3));
  CHECK(well_formed("\xED\xA0\x80") == marks(3));
  CHECK(well_formed("\xE0\x9F\x80") == marks(3));
  CHECK(well_formed("\xF4\x90\x80\x80") == marks(4));
  CHECK(well_formed("\xF1\x80\x80z") == marks(1) + "z");
  CHECK(well_formed("\xF1\x80\xC3\xA9") == marks(1) + "\xC3\xA9");
  CHECK(well_formed("\xC0\xAF\xFF\x80") == marks(4));
  CHECK(well_formed("\xE4\xB8\0"s) == marks(1) + "\0"s);
}

TEST_CASE("a tokenizer survives as a value, and bytes are a tokenizer too") {
  const Tokenizer tokenizer(read_file(fixture("tokenizer.json")), "tokenizer.json");
  const Tokenizer again = tokenizer_from(to_field(tokenizer));
  CHECK(again.encode("the loop  was slow") == tokenizer.encode("the loop  was slow"));
  const Tokenizer bytes = tokenizer_from(to_field(Tokenizer()));
  CHECK(bytes.is_bytes());
  CHECK(bytes.size() == 256);
  const std::string text = "a\xff\x00z";
  CHECK(bytes.decode(wide(bytes.encode(text))) == text);
  CHECK_THROWS_WITH(bytes.decode(std::vector<std::int64_t>{256}), Contains("no byte"));
  CHECK_THROWS_WITH(tokenizer.decode(std::vector<std::int64_t>{1 << 20}), Contains("not in the vocabulary"));
  CHECK_THROWS_WITH(tokenizer_from(record_field(Json::object())), Contains("'tokenizer' is needed"));
  CHECK(tokenizer.encode("a\xff") == tokenizer.encode("a\xef\xbf\xbd"));
}

TEST_CASE("an added token that is normalised is found in normalised text") {
  Json document = Json::parse(read_file(fixture("tokenizer.json")));
  const std::int64_t id = Tokenizer(document.dump(), "before").size();
  const char* const apart = "e\xCC\x81\xCC\xA3";  // whose composed form begins with another letter
  document["added_tokens"].push_back({{"id", id}, {"content", apart}, {"normalized", true}});
  const Tokenizer tokenizer(document.dump(), "tokenizer.json");
  for (const std::string& text : {std::string(apart), composed(apart)}) {
    CHECK(tokenizer.encode(text) == std::vector<std::int32_t>{static_cast<std::int32_t>(id)});
  }
}

TEST_CASE("a damaged or foreign tokenizer.json is refused by its entry") {
  const Json good = Json::parse(read_file(fixture("tokenizer.json")));
  const auto refused = [&](const std::function<void(Json&)>& damage) -> std::string {
    Json document = good;
    damage(document);
    try {
      Tokenizer(document.dump(), "file.json");
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  CHECK_THAT(refused([](Json& t) { t = Json::array(); }), Contains("file.json: is not a JSON object"));
  CHECK_THAT(refused([](Json& t) { t.erase("model"); }), Contains("has no 'model'"));
  CHECK_THAT(refused([](Json& t) { t["model"]["type"] = "Unigram"; }), Contains("'model.type' is \"Unigram\""));
  CHECK_THAT(refused([](Json& t) { t["normalizer"]["type"] = "Lowercase"; }), Contains("'normalizer.type'"));
  CHECK_THAT(refused([](Json& t) { t["pre_tokenizer"] = nullptr; }), Contains("'pre_tokenizer."));
  CHECK_THAT(refused([](Json& t) { t["model"]["vocab"]["a"] = -1; }), Contains("token 'a' has the id -1"));
  CHECK_THAT(refused([](Json& t) { t["model"]["vocab"]["a"] = t["model"]["vocab"]["b"]; }), Contains("is another's"));
  CHECK_THAT(refused([](Json& t) { t["model"]["vocab"].erase("a"); }), Contains("part of merge"));
  CHECK_THAT(refused([](Json& t) { t["model"]["merges"][3] = "one"; }), Contains("merge 4"));
  CHECK_THAT(refused([](Json& t) { t["model"]["merges"][3] = "zzzz a"; }), Contains("left part of merge 4"));
  const auto no_byte_1 = [](Json& t) { t["model"]["vocab"].erase(byte_text(1)); };
  CHECK(refused(no_byte_1) == "accepted");
  CHECK_THAT(refused([&](Json& t) { no_byte_1(t), t["model"]["unk_token"] = "<|endoftext|>"; }),
             Contains("no token of byte 1") && Contains("'model.unk_token'"));
  CHECK_THAT(refused([](Json& t) { t["model"]["dropout"] = 0.5; }), Contains("'model.dropout' is 0.5"));
  CHECK_THAT(refused([](Json& t) { t["added_tokens"][0]["lstrip"] = true; }), Contains("'lstrip'"));
  CHECK_THAT(refused([](Json& t) { t["added_tokens"][0]["content"] = ""; }), Contains("expected a text"));
  CHECK_THROWS_WITH(Tokenizer(std::string(100000, '['), "deep"), Contains("deep: is nested more than"));
  CHECK_THROWS_WITH(Tokenizer("{\"model\": ", "cut"), Contains("cut: is not a JSON object"));
}

}  // namespace
}  // namespace colonnade
