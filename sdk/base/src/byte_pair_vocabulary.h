#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "colonnade/byte_pairs.h"

namespace colonnade {

// A token that is found in the text before words are.
struct AddedToken {
  std::string text;
  std::int32_t id = 0;
};

class AddedTokens {
 public:
  void add(AddedToken token);
  // The longest that the text begins with, or null.
  const AddedToken* at(std::string_view text) const;

 private:
  static constexpr std::size_t kBytes = 256;
  std::array<std::vector<AddedToken>, kBytes> by_first_byte_;  // the longest first
};

// What a tokenizer.json says.
struct BytePairVocabulary {
  std::int64_t size = 0;                              // one more than the highest id
  std::unordered_map<std::string, std::int32_t> ids;  // by name, bytes written as printable characters
  std::vector<std::optional<std::string>> bytes;      // what an id stands for
  std::array<std::int32_t, 256> byte_ids{};           // -1: none, as for bytes that UTF-8 never has
  PairMerges merges;
  AddedTokens added;             // found in the text as it is given
  AddedTokens added_normalised;  // found in the normalized text
  bool compose = false;          // NFC
  bool blank_first = false;      // a blank before text that has none
  bool whole_words = false;      // a word that is a token is not merged
};

// Throws Error(input) naming `where` and the entry that is missing, wrong or of a kind not known here.
BytePairVocabulary read_byte_pair_vocabulary(std::string_view json, const std::string& where);

}  // namespace colonnade
