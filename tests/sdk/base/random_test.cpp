#include "colonnade/random.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "colonnade/error.h"

using namespace colonnade;

namespace {

constexpr std::uint64_t kSamples = 200000;
constexpr double kSigmas = 5;

// Mean and variance of `draw`'s first numbers lie within five standard errors of what its distribution has.
template <typename Draw>
void check_moments(Draw draw, double mean, double variance, double fourth_central_moment) {
  double sum = 0, sum_of_squares = 0;
  for (std::uint64_t i = 0; i < kSamples; ++i) {
    const double deviation = draw(i) - mean;
    sum += deviation;
    sum_of_squares += deviation * deviation;
  }
  const double count = kSamples;
  CHECK(std::abs(sum / count) < kSigmas * std::sqrt(variance / count));
  const double variance_error = std::sqrt((fourth_central_moment - variance * variance) / count);
  CHECK(std::abs(sum_of_squares / count - variance) < kSigmas * variance_error);
}

}  // namespace

// The vectors published with the paper's code.
TEST_CASE("Philox4x32-10 gives the published numbers") {
  using Words = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t kOnes = 0xffffffff;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// Made by an independent program from the written definition: a change here changes every result that draws.
TEST_CASE("streams give the numbers that their definition says") {
  const RandomStream stream = RandomStream(42).at("mask/train").at(0).at("backbone.layers.3.mixer.x_proj").at(7);
  CHECK(stream.key() == 0x7c151557968aab28);
  CHECK(stream.bits(0) == 0x55c7712f9c394840);
  CHECK(stream.bits(1) == 0xb007d25aeda85d05);
  CHECK(stream.bits((std::uint64_t{1} << 40) + 5) == 0x6487600c092bca62);
  CHECK(stream.uniform(0) == 0.33507449543342205);
  CHECK(stream.uniform_float(0) == 0.3350744843482971F);
  CHECK(stream.below(0, 1000) == 335);
  CHECK(stream.normal(0) == Approx(-0.36387259542919903).epsilon(1e-14));
  CHECK(stream.logistic(0) == Approx(-0.6853221296409688).epsilon(1e-14));
  CHECK(stream.gumbel(0) == Approx(-0.08929430013272656).epsilon(1e-13));
  CHECK(RandomStream(0).at("").key() == 0xb68267590661d677);
  CHECK(RandomStream(0).at(0).key() == 0xf08d6eaa844515e1);
}

TEST_CASE("each path of names and numbers has a stream of its own") {
  const RandomStream root(1);
  const std::string zero(1, '\0');
  std::set<std::uint64_t> keys = {root.key()};
  std::size_t streams = 1;
  const auto add = [&](const RandomStream& stream) {
    keys.insert(stream.key());
    ++streams;
  };
  for (const std::string& name :
       {std::string(), zero, zero + zero, std::string("a"), std::string("b"), "a" + zero, std::string("ab"),
        std::string("ba"), std::string("1"), std::string("abcdefgh"), "abcdefgh" + zero, std::string("abcdefghi")}) {
    add(root.at(name));
  }
  for (std::uint64_t number = 0; number < 1000; ++number) add(root.at(number));
  add(root.at("a").at("b"));
  add(root.at("b").at("a"));
  add(root.at("abcdefgh").at("i"));
  add(root.at("a").at(1));
  add(root.at(1).at("a"));
  add(root.at(std::uint64_t{1} << 32));
  add(RandomStream(2).at("a"));
  CHECK(keys.size() == streams);
}

TEST_CASE("neighbouring seeds, names and indices give unrelated bits") {
  // Of 64 bits 32 differ on average, with a standard deviation of 4 for one pair.
  double total = 0;
  constexpr int kPairs = 10000;
  for (std::uint64_t i = 0; i < kPairs; ++i) {
    total += std::popcount(RandomStream(i).at("op").bits(0) ^ RandomStream(i + 1).at("op").bits(0));
    total += std::popcount(RandomStream(3).at(i).bits(0) ^ RandomStream(3).at(i + 1).bits(0));
    total += std::popcount(RandomStream(3).bits(i) ^ RandomStream(3).bits(i + 1));
  }
  CHECK(std::abs(total / (3 * kPairs) - 32) < kSigmas * 4 / std::sqrt(3.0 * kPairs));
}

TEST_CASE("distributions have their mean and variance") {
  const RandomStream stream = RandomStream(5).at("moments");
  constexpr double kPi = std::numbers::pi;
  constexpr double kLogisticVariance = kPi * kPi / 3;
  constexpr double kGumbelVariance = kPi * kPi / 6;
  check_moments([&](std::uint64_t i) { return stream.uniform(i); }, 0.5, 1.0 / 12, 1.0 / 80);
  check_moments([&](std::uint64_t i) { return stream.uniform_float(i); }, 0.5, 1.0 / 12, 1.0 / 80);
  check_moments([&](std::uint64_t i) { return stream.normal(i); }, 0, 1, 3);
  check_moments([&](std::uint64_t i) { return stream.logistic(i); }, 0, kLogisticVariance,
                4.2 * kLogisticVariance * kLogisticVariance);
  check_moments([&](std::uint64_t i) { return stream.gumbel(i); }, std::numbers::egamma, kGumbelVariance,
                5.4 * kGumbelVariance * kGumbelVariance);
}

TEST_CASE("numbers below a bound are even") {
  const RandomStream stream = RandomStream(6).at("below");
  constexpr std::uint64_t kBound = 7;
  std::vector<double> counts(kBound);
  for (std::uint64_t i = 0; i < kSamples; ++i) {
    const std::uint64_t number = stream.below(i, kBound);
    REQUIRE(number < kBound);
    ++counts[number];
  }
  const double expected = static_cast<double>(kSamples) / kBound;
  for (const double count : counts) CHECK(std::abs(count - expected) < kSigmas * std::sqrt(expected));
  CHECK(stream.below(0, 1) == 0);
  CHECK_THROWS_AS(stream.below(0, 0), Error);
}

TEST_CASE("the serial correlation of a stream is none") {
  const RandomStream stream = RandomStream(8).at("serial");
  double sum = 0;
  for (std::uint64_t i = 0; i < kSamples; ++i) sum += stream.normal(i) * stream.normal(i + 1);
  CHECK(std::abs(sum / kSamples) < kSigmas / std::sqrt(static_cast<double>(kSamples)));
}
