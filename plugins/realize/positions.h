// Sets of positions below some number, coded near their entropy.
//
// Each position is coded by its distance v >= 1 from the one before: the number of bits of v, then its next highest
// bits, under contexts that adapt, then the rest plainly. For positions drawn at random that comes to within a percent
// or two of n H2(density); where they cluster, to less.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "arithmetic_coder.h"
#include "bytes.h"

namespace colonnade::realize {

/// The contexts that coder and decoder share.
struct DistanceModel {
  static constexpr int class_bits = 6, refined_bits = 2;
  std::array<AdaptiveBit, 1 << class_bits> classes;
  std::array<std::array<AdaptiveBit, 1 << refined_bits>, 1 << class_bits> refinements;
};

class PositionEncoder {
 public:
  /// In ascending order.
  void add(std::uint64_t position);
  std::uint64_t count() const { return count_; }
  std::string finish() { return encoder_.finish(); }

 private:
  ArithmeticEncoder encoder_;
  DistanceModel model_;
  std::uint64_t next_ = 0, count_ = 0;
};

/// Count, length and code.
void write_positions(ByteWriter& writer, std::uint64_t count, const std::string& code);
std::size_t positions_size(std::uint64_t count, const std::string& code);
/// Throws Error(input) unless they ascend below `limit`.
std::vector<std::int64_t> read_positions(ByteReader& reader, std::uint64_t limit);

}  // namespace colonnade::realize
