#include "colonnade/tensor/batch.h"

#include <catch2/catch.hpp>

#include "tests/support/small_model.h"

namespace colonnade {

TEST_CASE("windows hold ids and the tokens that follow them") {
  const Tokens text = small::text(50);
  const Batch batch = window_batch(text, {0, 41, 7}, 8);
  REQUIRE(batch.at("ids").sizes() == at::IntArrayRef({3, 8}));
  CHECK(batch.at("ids").scalar_type() == at::kLong);
  const std::int64_t starts[] = {0, 41, 7};
  for (std::int64_t row = 0; row < 3; ++row) {
    for (std::int64_t i = 0; i < 8; ++i) {
      CHECK(batch.at("ids")[row][i].item<std::int64_t>() == text.id(starts[row] + i));
      CHECK(batch.at("targets")[row][i].item<std::int64_t>() == text.id(starts[row] + i + 1));
    }
  }
}

TEST_CASE("a window ends with the text, and none goes beyond it") {
  const Tokens text = small::text(50);
  CHECK(token_windows(text, {40, 0}, 10)[0][9].item<std::int64_t>() == text.id(49));
  for (const std::int64_t start : {41, -1}) {
    CHECK(small::error_of([&, at = start] {
            token_windows(text, {0, at}, 10);
          }) == "a window of 10 tokens from token " + std::to_string(start) + " on leaves the text, which has 50");
  }
}

}  // namespace colonnade
