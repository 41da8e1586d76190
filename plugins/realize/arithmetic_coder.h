// Binary arithmetic coding with probabilities that adapt to what was coded (Witten, Neal and Cleary, "Arithmetic coding
// for data compression", 1987), in integers only: the same bytes on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace colonnade::realize {

/// How likely a 1 is in one context: learns quickly at first, like a count, and goes on forgetting slowly.
class AdaptiveBit {
 public:
  /// Of a 1, in 2^-16: never 0 nor 1.
  std::uint32_t probability() const { return fine_ >> hidden_bits; }
  void learn(bool bit);

 private:
  /// Kept finer than it is used, so that small steps are not lost.
  static constexpr int hidden_bits = 12;
  std::uint32_t fine_ = 1U << (15 + hidden_bits);
  std::uint16_t seen_ = 0;
};

class ArithmeticEncoder {
 public:
  void bit(AdaptiveBit& context, bool value);
  /// The lowest `bits` bits of `value`, which nothing is known of.
  void plain(std::uint64_t value, int bits);
  /// Ends the code and gives its bytes. Nothing may be coded afterwards.
  std::string finish();

 private:
  void code(std::uint32_t probability, bool value);

  std::uint32_t low_ = 0, high_ = 0xFFFFFFFF;
  std::string bytes_;
};

/// Gives whatever the bytes say; a code that is cut short goes on in zeros. Callers check what comes out.
class ArithmeticDecoder {
 public:
  explicit ArithmeticDecoder(std::string_view bytes);
  bool bit(AdaptiveBit& context);
  std::uint64_t plain(int bits);

 private:
  bool decode(std::uint32_t probability);
  std::uint32_t next_byte();

  std::string_view bytes_;
  std::uint32_t low_ = 0, high_ = 0xFFFFFFFF, code_ = 0;
};

}  // namespace colonnade::realize
