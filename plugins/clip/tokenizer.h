// CLIP's tokenizer: byte pairs merged within words, an end of a word being part of its last byte.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "colonnade/byte_pairs.h"
#include "colonnade/value.h"

namespace colonnade::clip {

inline constexpr const char* kStartToken = "<|startoftext|>";
inline constexpr const char* kEndToken = "<|endoftext|>";
inline constexpr const char* kWordEnd = "</w>";
inline constexpr const char* kTokenizerType = "clip/tokenizer";

using Merge = std::pair<std::string, std::string>;

/// Vocabulary and merges as they are published: bytes are written as printable characters, see byte_text.
struct Vocabulary {
  std::vector<std::string> tokens;  // by id
  std::vector<Merge> merges;        // by rank
};

class Tokenizer {
 public:
  /// Throws Error(input) where a merge's parts or result are no tokens, or the two tokens of text limits are missing.
  explicit Tokenizer(Vocabulary vocabulary);

  std::int64_t size() const { return static_cast<std::int64_t>(vocabulary_.tokens.size()); }
  std::int32_t start_token() const { return start_; }
  std::int32_t end_token() const { return end_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }

  /// Without the tokens of its limits. Bytes that are no UTF-8 count as U+FFFD; what the vocabulary lacks as its end
  /// token.
  std::vector<std::int32_t> encode(std::string_view text) const;
  /// Start, text and end as `length` ids, zeros behind; a longer text is cut, its end stays.
  std::vector<std::int32_t> encode(std::string_view text, std::int64_t length) const;

 private:
  void encode_part(std::string_view text, std::vector<std::int32_t>& ids) const;
  void encode_word(const std::string& word, std::vector<std::int32_t>& ids) const;
  std::int32_t id_of(const std::string& token) const;

  Vocabulary vocabulary_;
  std::unordered_map<std::string, std::int32_t> ids_;
  PairMerges merges_;
  std::int32_t start_ = 0, end_ = 0;
};

/// The vocabulary of single bytes: 256 inside words, 256 at their ends, start and end of texts.
Vocabulary byte_vocabulary();

Field to_field(const Tokenizer& tokenizer);
Tokenizer tokenizer_from(const Field& field);  // throws Error(input)

}  // namespace colonnade::clip
