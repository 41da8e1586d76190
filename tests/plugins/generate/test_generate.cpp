#include <ATen/Functions.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "colonnade/unicode.h"
#include "plugins/generate/generate.h"
#include "plugins/generate/transcript.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

Model byte_model(std::int64_t vocabulary = 256) {
  load_plugin("mamba");
  register_linked_plugin(colonnade_plugin);
  const Json params = {{"d_model", 16}, {"layers", 2}, {"d_state", 4}, {"vocabulary", vocabulary}};
  Model model = Model::from_field(small::run("mamba/mamba", params, {}, 7).at("model")).mutable_copy();
  // Fresh weights say nearly the same of every byte; these have opinions.
  model.writable("backbone.embeddings").sparse.mul_(30);
  return model;
}

TokenIds ids_of(const std::string& text) {
  return {text.begin(), text.end()};
}

const auto ignore = [](std::int64_t, const std::vector<Continuation>&) {};

// The likeliest next byte again and again, reading everything from the start each time.
TokenIds greedily(const Model& model, TokenIds text, std::int64_t count) {
  TokenIds added;
  for (std::int64_t i = 0; i < count; ++i) {
    Batch batch;
    batch.tensors["ids"] = at::tensor(text, at::kLong).unsqueeze(0);
    const Tensor last = model.forward(batch).select(1, -1);
    added.push_back(last.argmax().item<std::int64_t>());
    text.push_back(added.back());
  }
  return added;
}

Table texts(const Model& model, Json params, std::uint64_t seed = 0) {
  return table_from(
      small::run("generate/generate", std::move(params), {{"model", model.to_field()}}, seed).at("texts"));
}

}  // namespace

TEST_CASE("prompts of several lengths go on together as each would alone, read from the start every time") {
  const Model model = byte_model();
  const std::vector<TokenIds> prompts = {ids_of("a"), ids_of("the quick"), ids_of("of")};
  Generation generation;
  generation.sampling.temperature = 0;
  generation.max_tokens = 12;
  const auto found = generate(model, prompts, generation, RandomStream(1), ignore);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    CHECK(found[i].tokens == greedily(model, prompts[i], generation.max_tokens));
    CHECK_FALSE(found[i].stopped);
  }
}

TEST_CASE("prompts over a large vocabulary are read piece by piece, and go on as if they were read whole") {
  // Of two prompts over 32,768 tokens, 1,024 tokens are read at once.
  Model model = byte_model(32'768).mutable_copy();
  model.writable("backbone.embeddings").sparse.narrow(0, 256, 32'768 - 256).zero_();  // none but bytes come
  const RandomStream random(5);
  TokenIds longer;
  for (std::uint64_t i = 0; i < 1'500; ++i) longer.push_back(static_cast<std::int64_t>(random.below(i, 256)));
  const std::vector<TokenIds> prompts = {ids_of("short"), longer};
  Generation generation;
  generation.sampling.temperature = 0;
  generation.max_tokens = 2;
  const auto found = generate(model, prompts, generation, RandomStream(1), ignore);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    CHECK(found[i].tokens == greedily(model, prompts[i], generation.max_tokens));
  }
}

TEST_CASE("a text's random numbers are its own") {
  const Model model = byte_model();
  Generation generation;
  generation.max_tokens = 20;
  const TokenIds prompt = ids_of("xyz");
  const auto alone = generate(model, {prompt}, generation, RandomStream(9), ignore);
  const auto together =
      generate(model, {prompt, ids_of("something longer"), prompt}, generation, RandomStream(9), ignore);
  CHECK(together[0].tokens == alone[0].tokens);
  CHECK(together[2].tokens != alone[0].tokens);
}

TEST_CASE("texts are told line by line while they grow, but for what a stop may take back") {
  std::vector<std::string> lines;
  const auto note = [&](std::size_t text, const std::string& line) { lines.push_back(std::to_string(text) + line); };
  Transcript transcript(2, 3, note);
  transcript.tell(0, "one\ntwo", false);
  transcript.tell(1, "other", false);
  CHECK(lines == std::vector<std::string>{"0one"});
  transcript.tell(0, "one\ntwo\nth", false);  // the line's end may be the beginning of a stop
  CHECK(lines.size() == 1);
  transcript.tell(0, "one\ntwo\nthree", true);
  transcript.tell(0, "one\ntwo\nthree", true);
  transcript.tell(1, "oth", true);  // a stop was "er..."
  CHECK(lines == std::vector<std::string>{"0one", "0two", "0three", "1oth"});

  // However a text arrives, its lines are the same, and together they are it.
  std::string text = "a long line of words that is cut behind a blank, since it has more than can be shown in one;";
  text += std::string(30, ' ') + "\n\n";
  for (int i = 0; i < 100; ++i) text += "\xE2\x82\xAC";
  std::vector<std::string> grown, whole;
  Transcript slow(1, 0, [&](std::size_t, const std::string& line) { grown.push_back(line); });
  for (std::size_t size = 1; size <= text.size(); ++size) slow.tell(0, text.substr(0, size), size == text.size());
  Transcript quick(1, 0, [&](std::size_t, const std::string& line) { whole.push_back(line); });
  quick.tell(0, text, true);
  CHECK(grown == whole);
  std::string joined;
  for (const std::string& line : grown) {
    CHECK(line.size() <= 72);
    CHECK(well_formed(line) == line);
    joined += line;
  }
  text.erase(std::remove(text.begin(), text.end(), '\n'), text.end());
  CHECK(joined == text);
}

TEST_CASE("a stop ends a text and is cut off, the others go on") {
  const Model model = byte_model();
  Generation generation;
  generation.sampling.temperature = 0;
  generation.max_tokens = 10;
  const TokenIds prompt = ids_of("stop here");
  const TokenIds whole = greedily(model, prompt, 10);
  const std::string text(whole.begin(), whole.end());
  generation.stops = {"never there", text.substr(3, 2)};
  const auto found = generate(model, {prompt, ids_of("q")}, generation, RandomStream(1), ignore);
  CHECK(found[0].stopped);
  CHECK(found[0].text == text.substr(0, text.find(generation.stops[1])));
  CHECK(found[0].tokens ==
        TokenIds(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(found[0].text.size()) + 2));
  CHECK((found[1].stopped || found[1].tokens.size() == 10));
}

TEST_CASE("with byte pairs a stop ends a text wherever in a token it begins") {
  const std::string path = std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/byte_pairs/tokenizer.json";
  std::ifstream stream(path);
  const std::string json{std::istreambuf_iterator<char>(stream), {}};
  Generation generation;
  generation.tokenizer = Tokenizer(json, path);
  generation.sampling.temperature = 0;
  generation.max_tokens = 12;
  const Model model = byte_model(generation.tokenizer.size());
  TokenIds prompt;
  for (const std::int32_t id : generation.tokenizer.encode("the loop")) prompt.push_back(id);
  const Continuation whole = generate(model, {prompt}, generation, RandomStream(1), ignore)[0];
  CHECK(whole.text == generation.tokenizer.decode(whole.tokens));
  REQUIRE(whole.text.size() > 6);
  const std::string stop = whole.text.substr(4, 2);
  generation.stops = {stop};
  const Continuation cut = generate(model, {prompt}, generation, RandomStream(1), ignore)[0];
  CHECK(cut.stopped);
  CHECK(cut.text == whole.text.substr(0, whole.text.find(stop)));
  CHECK(generation.tokenizer.decode(cut.tokens).find(stop) != std::string::npos);
}

TEST_CASE("the op gives a row a prompt, readable whatever the bytes") {
  const Model model = byte_model();
  const Table table = texts(model, {{"prompts", {"In the ", "\xC3\xA9"}}, {"max_tokens", 30}}, 3);
  CHECK(table.rows() == 2);
  CHECK(table.column("prompt").cells[1] == "\xC3\xA9");
  CHECK(table.column("tokens").cells[0] == 30);
  CHECK(table.column("ended_by").cells[0] == "length");
  CHECK_NOTHROW(table.column("continuation").cells.dump());  // throws on what is not UTF-8
  CHECK(texts(model, {{"prompts", {"In the "}}, {"max_tokens", 30}}, 3).column("continuation").cells[0] ==
        table.column("continuation").cells[0]);
  CHECK(texts(model, {{"prompts", {"In the "}}, {"max_tokens", 30}}, 4).column("continuation").cells[0] !=
        table.column("continuation").cells[0]);
}

TEST_CASE("what cannot be continued is named") {
  const Model model = byte_model();
  CHECK_THROWS_WITH(texts(model, {{"prompts", Json::array()}}), Contains("'prompts' is empty"));
  CHECK_THROWS_WITH(texts(model, {{"prompts", {"a", ""}}}), Contains("a prompt is empty"));
  CHECK_THROWS_WITH(texts(model, {{"prompts", {"a"}}, {"stop", {""}}}), Contains("a stop is empty"));
  CHECK_THROWS_WITH(texts(small::make(), {{"prompts", {"a"}}}), Contains("piece by piece"));
}

}  // namespace colonnade
