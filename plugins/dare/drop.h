// Dropping single elements by their numbers: the one pass over a weight's memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "colonnade/random_words.h"

namespace colonnade::dare {

/// Where a site's elements were before its rows and columns were put into other orders: what is row i now was row
/// rows[i]. Empty: they were not moved.
struct ElementOrder {
  std::span<const std::int64_t> rows, columns;
  std::uint64_t row_length = 1;

  bool moved() const { return !rows.empty() || !columns.empty(); }
  std::uint64_t original(std::uint64_t element) const;
};

/// Element i survives if its word of `numbers` is at least `threshold`; i counts in the original order.
struct ElementRule {
  RandomStream numbers;
  std::uint64_t threshold = 0;  // 0 to 2^32
  std::uint64_t earlier = 0;    // what an earlier use left must be gone already: its threshold, 0 if there was none
  ElementOrder order = {};
};

/// What a pass over some elements saw.
struct DropCounts {
  std::int64_t kept = 0;      // elements that survive, zero or not
  std::int64_t refilled = 0;  // elements that the earlier use dropped and that are kept now
  double before = 0;          // sum of |value| over all of them, if asked for
  double after = 0;           // ... over those that survive, before scaling
};

/// Elements first .. first + count of a site.
template <typename Real>
struct ElementRange {
  std::uint64_t first = 0;
  std::int64_t count = 0;
  const Real* values = nullptr;
  const bool* mask = nullptr;  // what is dropped already stays dropped; null: nothing is
  Real* out = nullptr;         // may be `values`
  bool* keep = nullptr;        // which survive; may be `mask`
};

/// out = the values that survive times `factor`, zero for the others. Adds to `counts`; sums only with `norms`.
template <typename Real>
void drop_elements(const ElementRule& rule, const ElementRange<Real>& range, Real factor, bool norms,
                   DropCounts& counts);

/// The same by the obvious loop: its definition.
template <typename Real>
void drop_elements_plain(const ElementRule& rule, const ElementRange<Real>& range, Real factor, bool norms,
                         DropCounts& counts);

/// The same where something else has decided: `keep` says which survive.
template <typename Real>
void drop_decided(const bool* keep, std::int64_t count, Real factor, bool norms, Real* values, DropCounts& counts);

/// The threshold under which, with `ties` beside it, exactly `dropped` of `count` elements have the smallest words;
/// equal words go by index.
struct ExactCut {
  std::uint64_t threshold = 0;
  std::vector<std::uint64_t> ties;  // elements whose word is the threshold and that are dropped nevertheless
};
ExactCut exact_cut(const RandomStream& numbers, std::uint64_t count, std::uint64_t dropped);

/// Whether more than chance kept `kept` of `of` numbers at this rate, to e^-60 by Chernoff's bound: then the numbers
/// drawn are those that thinned them before.
bool beyond_chance(std::int64_t kept, std::int64_t of, double keep_rate);

}  // namespace colonnade::dare
