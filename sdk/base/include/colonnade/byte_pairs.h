#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

// Byte pair encoding (Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, 2016), on ids.

namespace colonnade {

// A byte as the character that stands for it in published vocabularies, UTF-8: printable ones of Latin-1 stand for themselves,
// the others, in order, for what follows U+00FF.
const std::string& byte_text(std::uint8_t byte);
bool is_printable_byte(std::uint8_t byte);

// Merges of neighbouring tokens by rank.
class PairMerges {
 public:
  // The last of equal merges holds, as where ranks are a dictionary.
  void add(std::int32_t left, std::int32_t right, std::int32_t merged);

  // Merges the pair of lowest rank, the leftmost of several, until none is left.
  void apply(std::vector<std::int32_t>& ids) const;

 private:
  struct Merged {
    std::int32_t rank, id;
  };
  std::unordered_map<std::uint64_t, Merged> merges_;  // by the ids of both parts
  std::int32_t next_rank_ = 0;
};

}  // namespace colonnade
