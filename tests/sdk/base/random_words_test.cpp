#include "colonnade/random_words.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "colonnade/error.h"

namespace colonnade {

TEST_CASE("words in bulk are the words one by one, wherever a range begins and ends") {
  const RandomStream stream = RandomStream(12345).at("site");
  std::vector<std::uint32_t> all(300);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = random_word(stream, i);
  for (std::size_t first = 0; first < 9; ++first) {
    for (std::size_t count : {0U, 1U, 3U, 4U, 5U, 31U, 32U, 33U, 63U, 64U, 65U, 128U, 200U, 291U}) {
      std::vector<std::uint32_t> some(count);
      random_words(stream, first, some);
      CHECK(std::equal(some.begin(), some.end(), all.begin() + static_cast<std::ptrdiff_t>(first)));
    }
  }
}

TEST_CASE("words beyond 32 bits of index carry on") {
  const RandomStream stream(7);
  const std::uint64_t first = (std::uint64_t{1} << 34) - 70;  // blocks cross 2^32
  std::vector<std::uint32_t> some(140);
  random_words(stream, first, some);
  for (std::size_t i = 0; i < some.size(); ++i) CHECK(some[i] == random_word(stream, first + i));
}

TEST_CASE("a word's block is Philox of its index, apart from every other number's") {
  const RandomStream stream(0x0123456789ABCDEF);
  const auto block = philox({5, 0, 4, 0}, {0x89ABCDEF, 0x01234567});
  for (std::uint64_t i = 0; i < 4; ++i) CHECK(random_word(stream, 20 + i) == block[i]);
  CHECK(random_word(stream, 0) != static_cast<std::uint32_t>(stream.bits(0)));
}

TEST_CASE("thresholds cut the words at a probability") {
  CHECK(word_threshold(0) == 0);
  CHECK(word_threshold(0.5) == std::uint64_t{1} << 31);
  CHECK(word_threshold(1) == std::uint64_t{1} << 32);
  CHECK(word_threshold(1e-12) == 1);
  CHECK_THROWS_AS(word_threshold(1.5), Error);
  CHECK_THROWS_AS(word_threshold(-0.1), Error);
  const RandomStream stream(3);
  constexpr std::int64_t count = 1 << 20;
  std::vector<std::uint32_t> words(count);
  random_words(stream, 0, words);
  for (const double p : {0.1, 0.5, 0.9, 0.99}) {
    const auto below = std::count_if(words.begin(), words.end(), [&](auto word) { return word < word_threshold(p); });
    CHECK(static_cast<double>(below) == Approx(p * count).margin(4 * std::sqrt(p * (1 - p) * count)));
  }
}

}  // namespace colonnade
