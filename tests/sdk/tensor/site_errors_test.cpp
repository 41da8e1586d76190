#include <ATen/Functions.h>

#include <catch2/catch.hpp>
#include <limits>

#include "colonnade/tensor/site.h"
#include "tests/sdk/tensor/fixtures.h"

// Edits that do not fit, and what edits may not touch.
namespace colonnade {

namespace {

using laws::Form;
using laws::make_weight;
using laws::same_bits;
using small::error_of;

constexpr std::int64_t rows = 8, columns = 7;
const std::vector<std::int64_t> shape = {rows, columns};

Tensor normal(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  return random_normal(RandomStream(seed).at("edit"), sizes, at::kDouble);
}

Tensor coin(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  return random_uniform(RandomStream(seed).at("coin"), sizes, at::kDouble) < 0.5;
}

}  // namespace

TEST_CASE("edits that do not fit or hold no numbers are refused and change nothing") {
  SiteWeight weight = make_weight(shape, {false, true, true});
  const SiteWeight before = weight;
  const Tensor bad = at::full(shape, std::numeric_limits<double>::quiet_NaN(), at::kDouble);
  const std::vector<std::pair<std::function<void()>, std::string>> mistakes = {
      {[&] {
         edit_dense(weight, normal({rows, 2}, 1));
       },
       "an edit has shape [8, 2], its site needs [8, 7]"},
      {[&] { edit_dense(weight, bad); }, "NaN in an edit of a site"},
      {[&] {
         edit_low_rank(weight, normal({rows, 2}, 1), normal({columns, 3}, 1));
       },
       "a low-rank edit does not fit its site: factors [8, 2] and [7, 3] for a matrix [8, 7]"},
      {[&] { edit_low_rank(weight, normal({rows}, 1), normal({columns}, 1)); },
       "a low-rank edit does not fit its site: factors [8] and [7] for a matrix [8, 7]"},
      {[&] {
         edit_low_rank(weight, bad.narrow(1, 0, 1), normal({columns, 1}, 1));
       },
       "NaN in a low-rank edit of a site"},
      {[&] { scale_rows(weight, normal({1}, 1)); }, "a scale of rows has shape [1], its site needs [8]"},
      {[&] { scale_columns(weight, normal({rows}, 1)); }, "a scale of columns has shape [8], its site needs [7]"},
      {[&] { scale_rows(weight, at::full({rows}, std::numeric_limits<double>::infinity(), at::kDouble)); },
       "an infinity in a scale of rows"},
      {[&] { apply_mask(weight, coin({rows}, 1)); }, "a mask has shape [8], its site needs [8, 7]"},
      {[&] {
         set_reference(weight, normal({rows, 1}, 1));
       },
       "a reference has shape [8, 1], its site needs [8, 7]"},
  };
  for (const auto& [act, message] : mistakes) {
    CHECK(error_of(act) == message);
    CHECK(same_bits(weight.sparse, before.sparse));
    CHECK(same_bits(weight.mask, before.mask));
    CHECK(same_bits(weight.u, before.u));
    CHECK(same_bits(weight.v, before.v));
  }
}

TEST_CASE("ops leave the tensors they were given as they are") {
  // Weights share memory with other values: every change makes new tensors.
  for (const Form& form : laws::forms()) {
    INFO(laws::text_of(form));
    const SiteWeight before = make_weight(shape, form), shared = before;
    const Tensor sparse = before.sparse.clone();
    const Tensor u = before.u.defined() ? before.u.clone() : Tensor();
    SiteWeight weight = before;
    apply_mask(weight, coin(shape, 2), true);
    edit_dense(weight, normal(shape, 3));
    edit_low_rank(weight, normal({rows, 1}, 3), normal({columns, 1}, 4));
    scale_rows(weight, normal({rows}, 5), true);
    set_reference(weight, normal(shape, 6));
    reindex(weight, 0, random_permutation(RandomStream(1), rows));
    densify(weight);
    CHECK(same_bits(shared.sparse, sparse));
    CHECK(same_bits(shared.u, u));
  }
}

TEST_CASE("a site's matrix and parts are read off its declaration") {
  SiteSpec spec;
  spec.shape = {4, 1, 3};
  spec.parts = {{"a", 0, 1}, {"b", 1, 3}};
  CHECK(spec.rows() == 4);
  CHECK(spec.columns() == 3);
  CHECK(spec.elements() == 12);
  REQUIRE(spec.find_part("b") != nullptr);
  CHECK(spec.find_part("b")->start == 1);
  CHECK(spec.find_part("c") == nullptr);
  spec.shape = {5};
  CHECK(spec.columns() == 1);
  CHECK(std::string(site_kind_name(SiteKind::conv1d)) == "conv1d");
}

}  // namespace colonnade
