#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "colonnade/random_words.h"

namespace colonnade {

// A mask that was drawn: element i (row-major) may be kept only where random_word(numbers, i) >= threshold. Two numbers
// stand for all its positions.
struct DrawnMask {
  RandomStream numbers;
  std::uint64_t threshold = 0;  // 0 to 2^32
};

// A hook that remembers how masks were drawn is one of these too, so that what stores a model can store their numbers
// in place of positions. Whoever uses them checks them against the weight: its zeros may have been moved or filled
// since.
class DrawnMasks {
 public:
  virtual ~DrawnMasks();
  virtual std::vector<DrawnMask> drawn_masks(const std::string& site) const = 0;
};

}  // namespace colonnade
