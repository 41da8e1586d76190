#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "colonnade/value.h"

namespace colonnade {

// A text as token ids (type "tokens"): tensor "ids" (u8 for byte vocabularies, else i32), shape [count]; the document says
// the vocabulary ("bytes"), its size, the split ("train", "valid", "test"), the domain and the number of bytes, words and line
// ends of the text that the ids stand for, so that token- and word-level measures can be told apart. Where the text is made of
// several documents (books), the tensor "documents" (i64) says at which ids they begin, the first at 0.
struct Tokens {
  Blob ids;
  std::string vocabulary = "bytes";
  std::int64_t vocabulary_size = 256;
  std::string split;
  std::string domain;
  std::int64_t bytes = 0;
  std::int64_t words = 0;
  std::int64_t lines = 0;
  std::vector<std::int64_t> documents;  // empty: one

  std::int64_t count() const { return ids.elements(); }
  std::int64_t id(std::int64_t position) const;
};

Field to_field(const Tokens& tokens);
Tokens tokens_from(const Field& field);  // throws Error(input) on another type or an id outside the vocabulary

}  // namespace colonnade
