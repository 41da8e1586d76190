#include <filesystem>
#include <fstream>
#include <sstream>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tokenizer.h"
#include "corpus.h"
#include "cut.h"

namespace colonnade {

namespace {

constexpr const char* definition =
    "Reads a text in its training, validation and test split.\n"
    "A folder whose file names hold the words train, valid (validation, val, dev) and test is read as published; "
    "`domain = n` is "
    "then the n-th of `domains` equal ranges of the training split, cut at line ends, beside the whole validation and "
    "test "
    "split. Subfolders of such names are read the same way, each .txt file in them a document of its own, as PG-19's "
    "books are. In any other folder every .txt file is a domain, in order of name, split 90/5/5 by position at line "
    "ends; "
    "without "
    "`domain` all files follow one another. A single file is split by position. A missing or empty split is an error. "
    "The vocabulary \"bytes\" has the 256 byte values as its tokens, \"byte_pairs\" those of a Hugging Face "
    "tokenizer.json "
    "of GPT-2's or GPT-NeoX's kind (the published Mamba models' among them): each split is encoded as one text, to the "
    "reference's ids, with no token added at its ends.";

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream) throw Error(ErrorKind::input, path + ": cannot be read");
  return text.str();
}

// From a tokenizer.json, or the folder that has one.
Tokenizer published_tokenizer(std::string path) {
  if (std::filesystem::is_directory(path)) path += "/tokenizer.json";
  return Tokenizer(read_file(path), path);
}

Tokenizer chosen_tokenizer(const OpContext& context) {
  const bool pairs = context.param<std::string>("vocabulary") == "byte_pairs";
  if (pairs != context.has_param("tokenizer")) {
    throw Error(ErrorKind::usage, pairs ? "vocabulary = \"byte_pairs\" needs tokenizer = a tokenizer.json"
                                        : "a tokenizer was given; allowed: with vocabulary = \"byte_pairs\" only");
  }
  return pairs ? published_tokenizer(context.param<std::string>("tokenizer")) : Tokenizer();
}

Value read_byte_pairs(OpContext& context) {
  Value value;
  value.fields["tokenizer"] = to_field(published_tokenizer(context.param<std::string>("path")));
  return value;
}

Field tokens_of(const std::vector<Piece>& pieces, bool documents, const Tokenizer& tokenizer, const std::string& split,
                const std::string& domain) {
  Tokens tokens = cut_into_tokens(pieces, documents, tokenizer);
  tokens.split = split;
  tokens.domain = domain;
  return to_field(tokens);
}

Value read_text(OpContext& context) {
  std::optional<std::int64_t> domain;
  if (context.has_param("domain")) domain = context.param<std::int64_t>("domain");
  const Corpus corpus = read_corpus(context.param<std::string>("path"), domain, context.param<std::int64_t>("domains"));
  const std::string name = domain ? std::to_string(*domain) : "";
  const Tokenizer tokenizer = chosen_tokenizer(context);
  Value value;
  value.fields["train"] = tokens_of(corpus.train, corpus.documents, tokenizer, "train", name);
  value.fields["valid"] = tokens_of(corpus.valid, corpus.documents, tokenizer, "valid", name);
  value.fields["test"] = tokens_of(corpus.test, corpus.documents, tokenizer, "test", name);
  value.fields["tokenizer"] = to_field(tokenizer);
  Json info = {{"files", corpus.files}};
  for (const char* split : {"train", "valid", "test"}) {
    info[std::string(split) + "_bytes"] = value.at(split).document.at("bytes");
  }
  value.fields["info"] = record_field(std::move(info));
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

  registrar.op("byte_pairs")
      .doc(
          "Reads the tokenizer of published weights, for texts of one's own.\n"
          "A Hugging Face tokenizer.json of GPT-2's or GPT-NeoX's kind, as `text` reads it with vocabulary = "
          "\"byte_pairs\".")
      .example(
          "local pairs = col.byte_pairs { path = col.setting(\"mamba.path\") }\nlocal texts = base:generate { prompts "
          "= "
          "{ \"Once\" }, tokenizer = pairs.tokenizer }.texts")
      .output("tokenizer", "tokenizer", "turns texts into its tokens and back")
      .param(path("path", "a tokenizer.json, or the folder that has one"))
      .run(read_byte_pairs);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
