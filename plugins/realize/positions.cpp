#include "positions.h"

#include <algorithm>
#include <bit>

namespace colonnade::realize {

namespace {

/// Of a bit tree: the bits above, with a leading one.
template <typename Code>
std::uint32_t along_tree(int bits, Code code) {
  std::uint32_t node = 1;
  for (int i = bits - 1; i >= 0; --i) node = node << 1 | (code(node, i) ? 1U : 0U);
  return node - (1U << bits);
}

}  // namespace

void PositionEncoder::add(std::uint64_t position) {
  const std::uint64_t distance = position - next_ + 1;
  next_ = position + 1;
  ++count_;
  const int below = static_cast<int>(std::bit_width(distance)) - 1;
  along_tree(DistanceModel::class_bits, [&](std::uint32_t node, int i) {
    const bool bit = (below >> i & 1) != 0;
    encoder_.bit(model_.classes[node], bit);
    return bit;
  });
  const int refined = std::min(below, DistanceModel::refined_bits);
  along_tree(refined, [&](std::uint32_t node, int i) {
    const bool bit = (distance >> (below - refined + i) & 1) != 0;
    encoder_.bit(model_.refinements[static_cast<std::size_t>(below)][node], bit);
    return bit;
  });
  encoder_.plain(distance, below - refined);
}

void write_positions(ByteWriter& writer, std::uint64_t count, const std::string& code) {
  writer.count(count);
  writer.count(code.size());
  writer.text(code);
}

std::size_t positions_size(std::uint64_t count, const std::string& code) {
  ByteWriter writer;
  writer.count(count);
  writer.count(code.size());
  return writer.size() + code.size();
}

std::vector<std::int64_t> read_positions(ByteReader& reader, std::uint64_t limit) {
  const std::uint64_t count = reader.count_below(limit, "the number of positions");
  ArithmeticDecoder decoder(reader.plain(reader.count()));
  DistanceModel model;
  std::vector<std::int64_t> positions;
  std::uint64_t next = 0;
  while (positions.size() < count) {
    const auto below = along_tree(DistanceModel::class_bits,
                                  [&](std::uint32_t node, int) { return decoder.bit(model.classes[node]); });
    const auto bits = static_cast<int>(below);
    const int refined = std::min(bits, DistanceModel::refined_bits);
    const std::uint64_t high =
        along_tree(refined, [&](std::uint32_t node, int) { return decoder.bit(model.refinements[below][node]); });
    const int rest = bits - refined;
    const std::uint64_t distance = (std::uint64_t{1} << bits) | high << rest | decoder.plain(rest);
    if (distance - 1 >= limit - next)
      reader.refuse("a position in it lies beyond its " + std::to_string(limit) + " elements");
    positions.push_back(static_cast<std::int64_t>(next + distance - 1));
    next += distance;
  }
  return positions;
}

}  // namespace colonnade::realize
