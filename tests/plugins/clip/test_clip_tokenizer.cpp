// The tokenizer against Hugging Face's, on the fixtures of tests/oracles/clip_tokenizer, and its own laws.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "colonnade/error.h"
#include "colonnade/unicode.h"
#include "plugins/clip/normalise.h"
#include "plugins/clip/vocabulary.h"

namespace colonnade::clip {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

std::string fixture_file(const std::string& name) {
  return std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/clip_tokenizer/" + name;
}

Json read_json(const std::string& path) {
  std::ifstream stream(path);
  return Json::parse(stream);
}

TEST_CASE("ids are Hugging Face's on any UTF-8") {
  const Tokenizer tokenizer(read_vocabulary(fixture_file("tokenizer.json")));
  const Json lines = read_json(fixture_file("lines.json"));
  REQUIRE(lines.size() > 150);
  for (const Json& line : lines) {
    std::vector<std::int32_t> ids = tokenizer.encode(line.at("text").get<std::string>());
    ids.insert(ids.begin(), tokenizer.start_token());
    ids.push_back(tokenizer.end_token());
    CAPTURE(line.at("text").dump());
    CHECK(ids == line.at("ids").get<std::vector<std::int32_t>>());
  }
}

TEST_CASE("a text is cut to its length, and its end stays") {
  const Tokenizer tokenizer(byte_vocabulary());
  CHECK(tokenizer.size() == 514);
  const std::vector<std::int32_t> whole = tokenizer.encode("ab cd", 8);
  const auto id = [&](const char* text) {
    const auto& tokens = tokenizer.vocabulary().tokens;
    return static_cast<std::int32_t>(std::find(tokens.begin(), tokens.end(), text) - tokens.begin());
  };
  CHECK(whole == std::vector<std::int32_t>{512, id("a"), id("b</w>"), id("c"), id("d</w>"), 513, 0, 0});
  CHECK(tokenizer.encode("ab cd", 4) == std::vector<std::int32_t>{512, id("a"), id("b</w>"), 513});
  CHECK(tokenizer.encode("", 3) == std::vector<std::int32_t>{512, 513, 0});
  CHECK_THROWS_WITH(tokenizer.encode("a", 1), Contains("no room"));
}

TEST_CASE("bytes that are no UTF-8 count as replacement characters") {
  const Tokenizer tokenizer(byte_vocabulary());
  CHECK(tokenizer.encode("a\xff\xc3z") == tokenizer.encode("a\xef\xbf\xbd\xef\xbf\xbdz"));
  // A character that was cut short is one.
  CHECK(tokenizer.encode(std::string("\xf0\x9f\x98", 3)) == tokenizer.encode("\xef\xbf\xbd"));
}

/// The loop that defines a learnt vocabulary: count all pairs, merge the most frequent, begin again.
std::vector<Merge> learn_slowly(const std::vector<std::string>& texts, std::size_t merges) {
  const Vocabulary bytes = byte_vocabulary();
  std::map<std::string, std::size_t> ids;
  for (std::size_t i = 0; i + 2 < bytes.tokens.size(); ++i) ids[bytes.tokens[i]] = i;
  std::vector<std::vector<std::string>> words;
  for (const std::string& text : texts) {
    for (const std::string& word : words_of(normalised(text))) {
      std::vector<std::string>& symbols = words.emplace_back();
      for (const char byte : word) symbols.push_back(byte_text(static_cast<std::uint8_t>(byte)));
      symbols.back() += kWordEnd;
    }
  }
  std::vector<Merge> learnt;
  while (learnt.size() < merges) {
    std::map<std::pair<std::size_t, std::size_t>, std::pair<int, Merge>> counts;
    for (const auto& word : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) {
        auto& entry = counts[{ids.at(word[i]), ids.at(word[i + 1])}];
        ++entry.first;
        entry.second = {word[i], word[i + 1]};
      }
    }
    const auto best = std::max_element(counts.begin(), counts.end(),
                                       [](const auto& a, const auto& b) { return a.second.first < b.second.first; });
    const Merge merge = best->second.second;
    learnt.push_back(merge);
    ids.emplace(merge.first + merge.second, ids.size());
    for (auto& word : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) {
        if (word[i] != merge.first || word[i + 1] != merge.second) continue;
        word[i] += word[i + 1];
        word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }
  return learnt;
}

TEST_CASE("a learnt vocabulary is that of the loop that defines it") {
  std::vector<std::string> texts;
  const Json lines = read_json(fixture_file("lines.json"));
  for (std::size_t i = 0; i < 7; ++i) texts.push_back(lines[i].at("text").get<std::string>());
  constexpr std::int64_t kSize = 640;
  const Vocabulary learnt = learn_vocabulary(texts, kSize);
  CHECK(learnt.tokens.size() == kSize);
  CHECK(learnt.merges == learn_slowly(texts, kSize - 514));
  const Tokenizer tokenizer(learnt);
  CHECK(tokenizer.end_token() == kSize - 1);
  CHECK(tokenizer.encode(texts[0]).size() < Tokenizer(byte_vocabulary()).encode(texts[0]).size() / 2);
  CHECK_THROWS_WITH(learn_vocabulary({"ab ab"}, 600), Contains("515 tokens at most") && Contains("600"));
}

TEST_CASE("a tokenizer comes back from the store's form") {
  const Tokenizer tokenizer(read_vocabulary(fixture_file("tokenizer.json")));
  const Tokenizer again = tokenizer_from(to_field(tokenizer));
  CHECK(again.vocabulary().tokens == tokenizer.vocabulary().tokens);
  CHECK(again.encode("two dogs running") == tokenizer.encode("two dogs running"));
}

TEST_CASE("what a vocabulary's files get wrong is named") {
  const fs::path folder = fs::temp_directory_path() / ("colonnade-vocabulary-" + std::to_string(getpid()));
  fs::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    return (folder / name).string();
  };
  const auto message = [&](const std::string& path) -> std::string {
    try {
      Tokenizer tokenizer(read_vocabulary(path));
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::input);
      return error.what();
    }
    return "no error";
  };
  CHECK_THAT(message(folder.string()), Contains("none of tokenizer.json"));
  CHECK_THAT(message((folder / "nothing").string()), Contains("nothing: cannot be opened"));
  const std::string path = write("tokenizer.json", "[1");
  CHECK_THAT(message(path), Contains(path) && Contains("is no JSON"));
  write("tokenizer.json", "[1]");
  CHECK_THAT(message(path), Contains("not a JSON object"));
  write("tokenizer.json", std::string(1000000, '['));
  CHECK_THAT(message(path), Contains("levels deep"));
  write("tokenizer.json", R"({"model":{"type":"Unigram"}})");
  CHECK_THAT(message(path), Contains("no byte-pair encoding"));
  const auto model = [&](const std::string& inner) {
    write("tokenizer.json", R"({"model":{"end_of_word_suffix":"</w>",)" + inner + "}}");
    return message(path);
  };
  CHECK_THAT(model(R"("vocab":{"a":5},"merges":[])"), Contains("'a'") && Contains("5"));
  CHECK_THAT(model(R"("vocab":{"a":0,"b":0},"merges":[])"), Contains("id 0"));
  CHECK_THAT(model(R"("vocab":{"a":0},"merges":[])"), Contains("<|startoftext|>"));
  const std::string limits = R"("<|startoftext|>":0,"<|endoftext|>":1)";
  CHECK_THAT(model(R"("vocab":{)" + limits + R"(},"merges":["a b c"])"), Contains("'a b c'"));
  CHECK_THAT(model(R"("vocab":{)" + limits + R"(,"a":2,"b":3},"merges":[["a","b"]])"),
             Contains("'ab'") && Contains("merge 1"));
  fs::remove(path);
  write("vocab.json", "{}");
  CHECK_THAT(message(folder.string()), Contains("no merges.txt"));
  CHECK_THAT(message((folder / "vocab.json").string()), Contains("give the folder"));
  fs::remove_all(folder);
}

TEST_CASE("the authors' vocabulary is read as published", "[needs]") {
  const char* data = std::getenv("COLONNADE_TEST_DATA");
  const std::string path = std::string(data == nullptr ? "" : data) + "/tok/clip/bpe_simple_vocab_16e6.txt.gz";
  if (data == nullptr || !fs::exists(path)) {
    WARN("skipped: COLONNADE_TEST_DATA names no folder with tok/clip/bpe_simple_vocab_16e6.txt.gz");
    return;
  }
  const Tokenizer tokenizer(read_vocabulary(path));
  CHECK(tokenizer.size() == 49408);
  CHECK(tokenizer.start_token() == 49406);
  // As the published model's page shows it.
  CHECK(tokenizer.encode("a photo of a cat", 7) == std::vector<std::int32_t>{49406, 320, 1125, 539, 320, 2368, 49407});
}

}  // namespace
}  // namespace colonnade::clip
