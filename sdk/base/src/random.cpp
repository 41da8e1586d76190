#include "colonnade/random.h"

#include <cmath>
#include <cstring>
#include <numbers>

#include "colonnade/error.h"

namespace colonnade {
namespace {

// What a block of Philox is used for: the third word of its counter. Numbers and derived keys never share a block.
// random_words.cpp takes the next value.
enum class Use : std::uint32_t { numbers = 0, number_key = 1, text_length = 2, text_block = 3 };

constexpr std::uint32_t kMultiplier0 = 0xD2511F53;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
constexpr std::uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

std::uint32_t low(std::uint64_t word) {
  return static_cast<std::uint32_t>(word);
}
std::uint32_t high(std::uint64_t word) {
  return static_cast<std::uint32_t>(word >> 32);
}
std::uint64_t join(std::uint32_t low_half, std::uint32_t high_half) {
  return static_cast<std::uint64_t>(high_half) << 32 | low_half;
}

struct Block {
  std::uint64_t first;
  std::uint64_t second;
};

Block block(std::uint64_t key, std::uint64_t index, Use use) {
  const auto words = philox({low(index), high(index), static_cast<std::uint32_t>(use), 0}, {low(key), high(key)});
  return {join(words[0], words[1]), join(words[2], words[3])};
}

// [0, 1) in steps of 2^-53.
double closed_open(std::uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// (0, 1], for a logarithm.
double open_closed(std::uint64_t bits) {
  return static_cast<double>((bits >> 11) + 1) * 0x1p-53;
}

// (0, 1), symmetric about 1/2.
double open_open(std::uint64_t bits) {
  return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = static_cast<std::uint64_t>(kMultiplier0) * counter[0];
    const std::uint64_t product1 = static_cast<std::uint64_t>(kMultiplier1) * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

RandomStream RandomStream::at(std::string_view name) const {
  std::uint64_t key = block(key_, name.size(), Use::text_length).first;
  while (!name.empty()) {
    std::uint64_t word = 0;
    const std::size_t taken = name.copy(reinterpret_cast<char*>(&word), sizeof(word));
    name.remove_prefix(taken);
    key = block(key, word, Use::text_block).first;
  }
  return RandomStream(key);
}

RandomStream RandomStream::at(std::uint64_t number) const {
  return RandomStream(block(key_, number, Use::number_key).first);
}

std::uint64_t RandomStream::bits(std::uint64_t index) const {
  return block(key_, index, Use::numbers).first;
}

double RandomStream::uniform(std::uint64_t index) const {
  return closed_open(bits(index));
}

float RandomStream::uniform_float(std::uint64_t index) const {
  return static_cast<float>(bits(index) >> 40) * 0x1p-24F;
}

double RandomStream::normal(std::uint64_t index) const {
  const Block words = block(key_, index, Use::numbers);
  const double radius = std::sqrt(-2 * std::log(open_closed(words.first)));
  return radius * std::cos(2 * std::numbers::pi * closed_open(words.second));
}

double RandomStream::logistic(std::uint64_t index) const {
  const double u = open_open(bits(index));
  return std::log(u) - std::log(1 - u);
}

double RandomStream::gumbel(std::uint64_t index) const {
  return -std::log(-std::log(open_open(bits(index))));
}

std::uint64_t RandomStream::below(std::uint64_t index, std::uint64_t bound) const {
  if (bound == 0) throw Error(ErrorKind::op, "RandomStream::below needs a bound of at least 1");
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Wide>(bits(index)) * bound >> 64);
}

}  // namespace colonnade
