#include "plugins/peft/allocation.h"

#include <catch2/catch.hpp>

namespace colonnade {

namespace {

// Sites "a", "b", ... with these importances, all in layers of two.
std::vector<Candidate> candidates(const std::vector<double>& importances) {
  std::vector<Candidate> result;
  for (std::size_t i = 0; i < importances.size(); ++i) {
    result.push_back({std::string(1, static_cast<char>('a' + i)), static_cast<int>(i / 2), importances[i], true, true});
  }
  return result;
}

// "s" strong, "l" light, "." frozen, by site.
std::string pattern(const std::vector<Allotted>& allotted) {
  std::string result;
  for (const Allotted& each : allotted) {
    result += each.choice == Choice::strong ? 's' : each.choice == Choice::light ? 'l' : '.';
  }
  return result;
}

}  // namespace

TEST_CASE("shares are rounded half up") {
  CHECK(rounded_share(0.3, 5) == 2);  // 1.5
  CHECK(rounded_share(0.3, 4) == 1);  // 1.2
  CHECK(rounded_share(0.5, 1) == 1);
  CHECK(rounded_share(0.5, 3) == 2);
  CHECK(rounded_share(0.7, 5) == 4);  // 3.5, though 0.7 * 5 is a little less in binary
  CHECK(rounded_share(0.15, 10) == 2);
  CHECK(rounded_share(0.35, 10) == 4);
  CHECK(rounded_share(0.49, 1) == 0);
  CHECK(rounded_share(0.0, 9) == 0);
  CHECK(rounded_share(1.0, 9) == 9);
}

TEST_CASE("three ways: of the tuned the first are strong, the rest light, others frozen") {
  const auto ten = candidates({.1, .9, .3, .8, .2, .7, .4, .6, .5, .0});
  CHECK(pattern(allot(ten, {})) == ".s.s.l....");  // 3 tuned, round(1.5) = 2 strong
  CHECK(pattern(allot(ten, {Policy::three_way, Unit::site, 0.6, 0.5})) == ".s.s.slll.");
  CHECK(pattern(allot(ten, {Policy::three_way, Unit::site, 0.4, 0.0})) == ".l.l.l.l..");
  CHECK(pattern(allot(ten, {Policy::three_way, Unit::site, 0.0, 1.0})) == "..........");
  CHECK(allot(ten, {})[3].reason == "rank 2 of 10");
}

TEST_CASE("all but the top are light where nothing is frozen") {
  const auto ten = candidates({.1, .9, .3, .8, .2, .7, .4, .6, .5, .0});
  CHECK(pattern(allot(ten, {Policy::rest_light, Unit::site, 0.3, 0.2})) == "lslsllllll");
}

TEST_CASE("equal importances are settled by order") {
  CHECK(pattern(allot(candidates({.5, .5, .5, .5}), {Policy::three_way, Unit::site, 0.5, 0.5})) == "sl..");
}

TEST_CASE("layers are ranked by the mean of their sites") {
  // Means .5, .55, .2.
  const auto six = candidates({.0, 1.0, .5, .6, .4, .0});
  CHECK(pattern(allot(six, {Policy::three_way, Unit::layer, 0.67, 0.5})) == "llss..");
  CHECK(allot(six, {Policy::three_way, Unit::layer, 0.67, 0.5})[0].reason == "layer rank 2 of 3");
}

TEST_CASE("uniform policies treat every site alike; a chosen few are strong") {
  auto four = candidates({.1, .2, .3, .4});
  four[2].strong_fits = false;
  CHECK(pattern(allot(four, {Policy::uniform_strong})) == "ss.s");
  CHECK(pattern(allot(four, {Policy::uniform_light})) == "llll");
  CHECK(pattern(allot(four, {Policy::strong_only_on})) == "ss.s");
}

TEST_CASE("the light recipe stands in where the strong one has no place") {
  auto four = candidates({.1, .2, .3, .4});
  four[3].strong_fits = false;
  const auto allotted = allot(four, {Policy::three_way, Unit::site, 0.5, 1.0});
  CHECK(pattern(allotted) == "..sl");
  CHECK(allotted[3].reason == "rank 1 of 4, no place for the strong recipe");
}

TEST_CASE("sites without an importance are frozen and not counted") {
  auto five = candidates({.1, .2, .3, .4, .9});
  five[4].scored = false;
  const auto allotted = allot(five, {Policy::three_way, Unit::site, 0.5, 0.5});
  CHECK(pattern(allotted) == "..ls.");
  CHECK(allotted[4].reason == "no importance");
}

}  // namespace colonnade
