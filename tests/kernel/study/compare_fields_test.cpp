#include "kernel/study/compare_fields.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

using namespace colonnade;
using namespace colonnade::host;

namespace {

Field tensor_of(const std::vector<float>& numbers) {
  return tensor_field(Blob::of<float>(DType::f32, numbers));
}

}  // namespace

TEST_CASE("equal fields do not differ") {
  const FieldDifference difference = compare_fields(tensor_of({1, 2, 3}), tensor_of({1, 2, 3}));
  CHECK(difference.differing == 0);
  CHECK(difference.elements == 3);
  CHECK(difference.comparable);
}

TEST_CASE("the size of a difference is absolute, and relative to the largest recorded number") {
  const FieldDifference difference = compare_fields(tensor_of({1, 2.5F, 4}), tensor_of({1, 2, 4}));
  CHECK(difference.differing == 1);
  CHECK(difference.max_absolute == Approx(0.5));
  CHECK(difference.max_relative == Approx(0.125));
  CHECK(difference.worst == "tensor");
  CHECK(difference.text() == "1 of 3 numbers differ, by at most 0.5 (relative 0.125), most in tensor");
}

TEST_CASE("bits count: -0 differs from 0, and a NaN from a number by infinitely much") {
  const FieldDifference zero = compare_fields(tensor_of({-0.0F}), tensor_of({0.0F}));
  CHECK(zero.differing == 1);
  CHECK(zero.max_absolute == 0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isinf(compare_fields(tensor_of({nan}), tensor_of({1})).max_relative));
  CHECK(compare_fields(tensor_of({nan}), tensor_of({nan})).differing == 0);
}

TEST_CASE("documents are compared number by number") {
  const FieldDifference difference =
      compare_fields(record_field({{"a", 1.0}, {"b", {2, 3}}}), record_field({{"a", 1.5}, {"b", {2, 3}}}));
  CHECK(difference.differing == 1);
  CHECK(difference.elements == 3);
  CHECK(difference.max_absolute == Approx(0.5));
  CHECK(compare_fields(record_field(1), record_field(1.0)).differing == 1);
}

TEST_CASE("what is of another kind or shape has no size") {
  CHECK_FALSE(compare_fields(tensor_of({1, 2}), tensor_of({1, 2, 3})).comparable);
  CHECK_FALSE(compare_fields(record_field({{"a", "x"}}), record_field({{"a", "y"}})).comparable);
  CHECK_FALSE(compare_fields(record_field({{"a", 1}}), record_field({{"b", 1}})).comparable);
  CHECK_FALSE(compare_fields(record_field(1), tensor_of({1})).comparable);
}

TEST_CASE("sixteen-bit elements are read as the numbers they are") {
  const std::vector<std::uint16_t> halves = {0x3C00, 0xC000, 0x3555, 0x0001, 0x7C00};
  const Blob half = Blob::of<std::uint16_t>(DType::f16, halves);
  CHECK(element_of(half, 0) == 1.0);
  CHECK(element_of(half, 1) == -2.0);
  CHECK(element_of(half, 2) == Approx(0.333251953125));
  CHECK(element_of(half, 3) == std::ldexp(1.0, -24));
  CHECK(std::isinf(element_of(half, 4)));
  const Blob brain = Blob::of<std::uint16_t>(DType::bf16, std::vector<std::uint16_t>{0x3F80, 0xC040});
  CHECK(element_of(brain, 0) == 1.0);
  CHECK(element_of(brain, 1) == -3.0);
}
