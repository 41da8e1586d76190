#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "colonnade/value.h"

namespace colonnade {

// Texts to token ids and back: the bytes themselves, or byte pairs as a Hugging Face `tokenizer.json` defines them (GPT-2,
// GPT-NeoX: normalization NFC or none, byte-level words, added tokens). Ids are those of the reference on any UTF-8; bytes that
// are no UTF-8 count as U+FFFD. Tokens that begin or end texts are never added. Copies share the vocabulary.
class Tokenizer {
 public:
  // The vocabulary of the 256 byte values, into which any text is cut without loss.
  Tokenizer() = default;
  // From the text of a tokenizer.json; messages name `where`. Throws Error(input) for what is not well-formed, or for a kind of
  // tokenizer that is not this one.
  Tokenizer(std::string_view json, const std::string& where);

  bool is_bytes() const { return pairs_ == nullptr; }
  // One more than the highest id.
  std::int64_t size() const;

  std::vector<std::int32_t> encode(std::string_view text) const;
  // The bytes that the ids stand for, special tokens as they are spelt. Throws Error(input) on an id outside the vocabulary.
  std::string decode(std::span<const std::int64_t> ids) const;

  class Pairs;

 private:
  friend Field to_field(const Tokenizer& tokenizer);
  std::shared_ptr<const Pairs> pairs_;
  std::shared_ptr<const std::string> json_;
};

// Type "tokenizer".
Field to_field(const Tokenizer& tokenizer);
Tokenizer tokenizer_from(const Field& field);  // throws Error(input) on another type or a damaged vocabulary

}  // namespace colonnade
