// Dropping single elements by their numbers: the one pass over a weight's memory.
#pragma once

#include <cstdint>
#include <vector>

#include "colonnade/random_words.h"

namespace colonnade::dare {

/// Element i survives if its word of `numbers` is at least `threshold`.
struct ElementRule {
  RandomStream numbers;
  std::uint64_t threshold = 0;  // 0 to 2^32
  std::uint64_t earlier = 0;    // what an earlier use left must be gone already: its threshold, 0 if there was none
};

/// What a pass over some elements saw.
struct DropCounts {
  std::int64_t kept = 0;      // elements that survive, zero or not
  std::int64_t refilled = 0;  // elements that the earlier use dropped and that are kept now
  double before = 0;          // sum of |value| over all of them, if asked for
  double after = 0;           // ... over those that survive, before scaling
};

/// Elements first .. first + count: those that survive are multiplied by `factor`, the others become zero, `keep` says
/// which. With `masked`, `keep` holds a mask and what it has dropped already stays dropped. Sums only with `norms`.
template <typename Real>
DropCounts drop_elements(const ElementRule& rule, std::uint64_t first, std::int64_t count, Real factor, bool masked,
                         bool norms, Real* values, bool* keep);

/// The same by the obvious loop: its definition.
template <typename Real>
DropCounts drop_elements_plain(const ElementRule& rule, std::uint64_t first, std::int64_t count, Real factor,
                               bool masked, bool norms, Real* values, bool* keep);

/// The threshold under which, with `ties` beside it, exactly `dropped` of `count` elements have the smallest words;
/// equal words go by index.
struct ExactCut {
  std::uint64_t threshold = 0;
  std::vector<std::uint64_t> ties;  // elements whose word is the threshold and that are dropped nevertheless
};
ExactCut exact_cut(const RandomStream& numbers, std::uint64_t count, std::uint64_t dropped);

}  // namespace colonnade::dare
