#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tokenizer.h"
#include "corpus.h"

namespace colonnade {

namespace {

constexpr const char* definition =
    "Reads a text in its training, validation and test split.\n"
    "A folder whose file names hold the words train, valid (validation, val, dev) and test is read as published; "
    "`domain = n` is "
    "then the n-th of `domains` equal ranges of the training split, cut at line ends, beside the whole validation and "
    "test "
    "split. In any other folder every .txt file is a domain, in order of name, split 90/5/5 by position at line ends; "
    "without "
    "`domain` all files follow one another. A single file is split by position. A missing or empty split is an error. "
    "The vocabulary \"bytes\" has the 256 byte values as its tokens, \"byte_pairs\" those of a Hugging Face "
    "tokenizer.json "
    "of GPT-2's or GPT-NeoX's kind (the published Mamba models' among them): each split is encoded as one text, to the "
    "reference's ids, with no token added at its ends.";

std::int64_t count_words(const std::string& text) {
  std::int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool letter = std::isspace(static_cast<unsigned char>(c)) == 0;
    words += letter && !inside;
    inside = letter;
  }
  return words;
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream) throw Error(ErrorKind::input, path + ": cannot be read");
  return text.str();
}

Tokenizer chosen_tokenizer(const OpContext& context) {
  const bool pairs = context.param<std::string>("vocabulary") == "byte_pairs";
  if (pairs != context.has_param("tokenizer")) {
    throw Error(ErrorKind::usage, pairs ? "vocabulary = \"byte_pairs\" needs tokenizer = a tokenizer.json"
                                        : "a tokenizer was given; allowed: with vocabulary = \"byte_pairs\" only");
  }
  if (!pairs) return Tokenizer();
  std::string path = context.param<std::string>("tokenizer");
  if (std::filesystem::is_directory(path)) path += "/tokenizer.json";
  return Tokenizer(read_file(path), path);
}

Field tokens_of(const std::string& text, const Tokenizer& tokenizer, const std::string& split,
                const std::string& domain) {
  Tokens tokens;
  if (tokenizer.is_bytes()) {
    tokens.ids = Blob::copy(DType::u8, {static_cast<std::int64_t>(text.size())}, text.data());
  } else {
    const std::vector<std::int32_t> ids = tokenizer.encode(text);
    tokens.ids = Blob::copy(DType::i32, {std::ssize(ids)}, ids.data());
    tokens.vocabulary = "byte_pairs";
    tokens.vocabulary_size = tokenizer.size();
  }
  tokens.split = split;
  tokens.domain = domain;
  tokens.bytes = static_cast<std::int64_t>(text.size());
  tokens.words = count_words(text);
  return to_field(tokens);
}

Value read_text(OpContext& context) {
  std::optional<std::int64_t> domain;
  if (context.has_param("domain")) domain = context.param<std::int64_t>("domain");
  const Corpus corpus = read_corpus(context.param<std::string>("path"), domain, context.param<std::int64_t>("domains"));
  const std::string name = domain ? std::to_string(*domain) : "";
  const Tokenizer tokenizer = chosen_tokenizer(context);
  Value value;
  value.fields["train"] = tokens_of(corpus.train, tokenizer, "train", name);
  value.fields["valid"] = tokens_of(corpus.valid, tokenizer, "valid", name);
  value.fields["test"] = tokens_of(corpus.test, tokenizer, "test", name);
  value.fields["tokenizer"] = to_field(tokenizer);
  value.fields["info"] = record_field({{"files", corpus.files},
                                       {"train_bytes", corpus.train.size()},
                                       {"valid_bytes", corpus.valid.size()},
                                       {"test_bytes", corpus.test.size()}});
  return value;
}

void register_plugin(Registrar& registrar) {
  registrar.op("text")
      .doc(definition)
      .example(
          "local text = col.text { path = col.setting(\"text.path\"), domain = 1 }\nlocal model = base:train { data = "
          "text.train, steps = 100 }")
      .output("train", "tokens", "the training split")
      .output("valid", "tokens", "the validation split")
      .output("test", "tokens", "the test split")
      .output("tokenizer", "tokenizer", "turns texts into such tokens and back")
      .output("info", "record", "files and sizes")
      .param(path("path", "a folder of texts or one text file"))
      .param(choice("vocabulary", {"bytes", "byte_pairs"}, "what a token is").fall_back("bytes"))
      .param(path("tokenizer", "of byte pairs: a tokenizer.json, or the folder that has one").optional())
      .param(integer("domain", "which domain, from 1; absent: the whole text").range(1, std::nullopt).optional())
      .param(
          integer("domains", "ranges that a published training split is cut into").range(1, std::nullopt).fall_back(2))
      .run(read_text);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
