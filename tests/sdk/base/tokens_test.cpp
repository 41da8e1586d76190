#include "colonnade/tokens.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"

using namespace colonnade;

namespace {

Tokens byte_tokens() {
  Tokens tokens;
  tokens.ids = Blob::of(DType::u8, std::vector<std::uint8_t>{'a', ' ', 255});
  tokens.split = "train";
  tokens.domain = "old";
  tokens.bytes = 3;
  tokens.words = 2;
  return tokens;
}

Tokens word_tokens(std::vector<std::int32_t> ids) {
  Tokens tokens;
  tokens.ids = Blob::of(DType::i32, ids);
  tokens.vocabulary = "words";
  tokens.vocabulary_size = 1000;
  return tokens;
}

}  // namespace

TEST_CASE("tokens come back as they were") {
  const Tokens read = tokens_from(to_field(byte_tokens()));
  CHECK(read.count() == 3);
  CHECK(read.id(0) == 'a');
  CHECK(read.id(2) == 255);
  CHECK(read.vocabulary == "bytes");
  CHECK(read.vocabulary_size == 256);
  CHECK(read.split == "train");
  CHECK(read.domain == "old");
  CHECK(read.bytes == 3);
  CHECK(read.words == 2);
  CHECK(tokens_from(to_field(word_tokens({0, 999}))).id(1) == 999);
}

TEST_CASE("ids outside the vocabulary are named with their place") {
  CHECK_THROWS_WITH(to_field(word_tokens({0, 1000})),
                    "tokens: id 1000 at position 1 is outside the vocabulary 'words'; allowed: 0 to 999");
  CHECK_THROWS_WITH(to_field(word_tokens({-1})),
                    "tokens: id -1 at position 0 is outside the vocabulary 'words'; allowed: 0 to 999");
  Field field = to_field(byte_tokens());
  field.document["vocabulary_size"] = 128;
  CHECK_THROWS_WITH(tokens_from(field),
                    "tokens: id 255 at position 2 is outside the vocabulary 'bytes'; allowed: 0 to 127");
}

TEST_CASE("what is no text of tokens is refused") {
  CHECK_THROWS_WITH(tokens_from(record_field(1)), "a field of type 'record' was given where 'tokens' is needed");
  Tokens tokens = byte_tokens();
  tokens.ids = Blob::of(DType::f32, std::vector<float>{1});
  CHECK_THROWS_WITH(to_field(tokens), "tokens: the ids are f32; allowed: u8, i32");
  tokens.ids = Blob::of(DType::u8, std::vector<std::uint8_t>{1, 2}, {1, 2});
  CHECK_THROWS_AS(to_field(tokens), Error);
  Field field = to_field(byte_tokens());
  field.tensors.clear();
  CHECK_THROWS_WITH(tokens_from(field), "tokens: the tensor 'ids' is missing");
  field = to_field(byte_tokens());
  field.document.erase("words");
  CHECK_THROWS_WITH(tokens_from(field), "tokens: the document has no count 'words'");
  field = to_field(byte_tokens());
  field.document["split"] = 1;
  CHECK_THROWS_WITH(tokens_from(field), "tokens: the document has no text 'split'");
}

TEST_CASE("a position outside the text is refused") {
  CHECK_THROWS_AS(byte_tokens().id(3), Error);
  CHECK_THROWS_AS(byte_tokens().id(-1), Error);
}
