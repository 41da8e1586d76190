#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "colonnade/tokens.h"

namespace colonnade {

// An interpolated n-gram model by Witten and Bell ("The zero-frequency problem", 1991; as in Chen and Goodman, 1998):
//
//   P_k(w | h) = (c(h w) + T(h) · P_{k-1}(w | h')) / (c(h) + T(h)),   P_0(w) = 1 / vocabulary
//
// c counts in the training text, T(h) is the number of different tokens seen after h, h' is h without its oldest token.
// A context never seen passes on to the shorter one.
class NgramModel {
 public:
  // Throws Error(usage) if `order` tokens of this vocabulary do not fit 64 bits.
  NgramModel(const Tokens& training, int order);

  // Fills `distribution` (vocabulary entries) with the probabilities of the token at `position` of `text`, given up to
  // order - 1 tokens before it. Costs order · vocabulary operations.
  void predict(const Tokens& text, std::int64_t position, std::vector<double>& distribution) const;

  // How many different grams it has counted, of all lengths up to its order: c(h w) is its one kind of number.
  std::int64_t parameters() const;

 private:
  struct Context {
    std::uint64_t total = 0;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> counts;  // token, times; sorted by token
  };
  const Context* find(const Tokens& text, std::int64_t position, int length) const;

  int order_;
  int bits_;
  std::int64_t vocabulary_;
  std::vector<std::unordered_map<std::uint64_t, Context>> contexts_;  // by length of the context
};

}  // namespace colonnade
