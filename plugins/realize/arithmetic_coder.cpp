#include "arithmetic_coder.h"

#include <array>

namespace colonnade::realize {

namespace {

constexpr int probability_bits = 16;
constexpr std::uint32_t half = 1U << (probability_bits - 1);
constexpr std::uint32_t least = 4;  // of 2^16: nothing is ever impossible
constexpr int byte_bits = 8;
constexpr int top_shift = 24;
constexpr std::uint32_t top_byte = 0xFF000000;
/// After so many bits a context forgets at a steady rate.
constexpr int memory = 1000;

/// 2^16 / (n + 3/2): the step of an average over n + 3/2 observations.
constexpr std::array<std::uint32_t, memory + 1> make_steps() {
  std::array<std::uint32_t, memory + 1> steps{};
  for (int n = 0; n <= memory; ++n) {
    steps[static_cast<std::size_t>(n)] = (2U << probability_bits) / (2 * static_cast<std::uint32_t>(n) + 3);
  }
  return steps;
}
constexpr auto steps = make_steps();

/// The last number of the part of [low, high] that stands for a 1.
std::uint32_t split(std::uint32_t low, std::uint32_t high, std::uint32_t probability) {
  return low + static_cast<std::uint32_t>((std::uint64_t{high} - low) * probability >> probability_bits);
}

}  // namespace

void AdaptiveBit::learn(bool bit) {
  const std::int64_t target = std::int64_t{bit ? (1U << probability_bits) - least : least} << hidden_bits;
  const std::int64_t change = (target - fine_) * static_cast<std::int64_t>(steps[seen_]) / (1 << probability_bits);
  fine_ = static_cast<std::uint32_t>(fine_ + change);
  if (seen_ < memory) ++seen_;
}

void ArithmeticEncoder::code(std::uint32_t probability, bool value) {
  const std::uint32_t middle = split(low_, high_, probability);
  (value ? high_ : low_) = value ? middle : middle + 1;
  while (((low_ ^ high_) & top_byte) == 0) {
    bytes_.push_back(static_cast<char>(high_ >> top_shift));
    low_ <<= byte_bits;
    high_ = high_ << byte_bits | 0xFF;
  }
}

void ArithmeticEncoder::bit(AdaptiveBit& context, bool value) {
  code(context.probability(), value);
  context.learn(value);
}

void ArithmeticEncoder::plain(std::uint64_t value, int bits) {
  for (int i = bits - 1; i >= 0; --i) code(half, (value >> i & 1) != 0);
}

std::string ArithmeticEncoder::finish() {
  // What follows reads as zeros: one byte above low_ suffices, and none where low_ is zero.
  if (low_ != 0) bytes_.push_back(static_cast<char>((low_ >> top_shift) + 1));
  while (!bytes_.empty() && bytes_.back() == 0) bytes_.pop_back();
  return std::move(bytes_);
}

ArithmeticDecoder::ArithmeticDecoder(std::string_view bytes) : bytes_(bytes) {
  for (std::size_t i = 0; i < sizeof(code_); ++i) code_ = code_ << byte_bits | next_byte();
}

std::uint32_t ArithmeticDecoder::next_byte() {
  if (bytes_.empty()) return 0;
  const auto next = static_cast<std::uint8_t>(bytes_.front());
  bytes_.remove_prefix(1);
  return next;
}

bool ArithmeticDecoder::decode(std::uint32_t probability) {
  const std::uint32_t middle = split(low_, high_, probability);
  const bool value = code_ <= middle;
  (value ? high_ : low_) = value ? middle : middle + 1;
  while (((low_ ^ high_) & top_byte) == 0) {
    low_ <<= byte_bits;
    high_ = high_ << byte_bits | 0xFF;
    code_ = code_ << byte_bits | next_byte();
  }
  return value;
}

bool ArithmeticDecoder::bit(AdaptiveBit& context) {
  const bool value = decode(context.probability());
  context.learn(value);
  return value;
}

std::uint64_t ArithmeticDecoder::plain(int bits) {
  std::uint64_t value = 0;
  for (int i = 0; i < bits; ++i) value = value << 1 | (decode(half) ? 1 : 0);
  return value;
}

}  // namespace colonnade::realize
