#include "colonnade/error.h"

#include <catch2/catch.hpp>

using namespace colonnade;

TEST_CASE("the nearest name is one mistake in three characters away at most") {
  const std::vector<std::string> names = {"alpha", "rank", "dropout", "learning_rate"};
  CHECK(nearest_name("rnak", names) == "rank");
  CHECK(nearest_name("rnk", names) == "rank");
  CHECK(nearest_name("Rank", names) == "rank");
  CHECK(nearest_name("learningrate", names) == "learning_rate");
  CHECK(nearest_name("lerning_raet", names) == "learning_rate");
  CHECK(nearest_name("momentum", names).empty());
  CHECK(nearest_name("lr", names).empty());
  CHECK(nearest_name("", names).empty());
  CHECK(nearest_name("x", {"y"}).empty());
  CHECK(nearest_name("x", {}).empty());
}

TEST_CASE("of names equally near the first in the alphabet is meant, whatever their order") {
  CHECK(nearest_name("bat", {"cat", "bar"}) == "bar");
  CHECK(nearest_name("bat", {"bar", "cat"}) == "bar");
}

TEST_CASE("a suggestion is ready to append") {
  CHECK(did_you_mean("rnak", {"rank"}) == "; did you mean 'rank'?");
  CHECK(did_you_mean("zzz", {"rank"}).empty());
}
