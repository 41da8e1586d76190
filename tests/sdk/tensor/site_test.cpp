#include "colonnade/tensor/site.h"

#include <ATen/Functions.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/sdk/tensor/fixtures.h"

// The table of what acts on what: every op on every form of S, R, mask and U Vᵀ, in float64 against the formula.
namespace colonnade {

namespace {

using laws::Form;
using laws::forms;
using laws::make_weight;
using laws::masked_zeros_hold;
using laws::same_bits;
using laws::text_of;
using small::error_of;
using small::largest_difference;

constexpr double bound = 1e-12;
constexpr std::int64_t rows = 8, columns = 7;
const std::vector<std::int64_t> shape = {rows, columns};

Tensor normal(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  return random_normal(RandomStream(seed).at("edit"), sizes, at::kDouble);
}

Tensor coin(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  return random_uniform(RandomStream(seed).at("coin"), sizes, at::kDouble) < 0.5;
}

// W element by element: the definition.
Tensor by_loop(const SiteWeight& weight) {
  Tensor result = at::zeros(shape, at::kDouble);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      double sum = weight.sparse[i][j].item<double>();
      if (weight.reference.defined()) sum += weight.reference[i][j].item<double>();
      for (std::int64_t k = 0; k < weight.rank(); ++k) sum += (weight.u[i][k] * weight.v[j][k]).item<double>();
      result[i][j] = sum;
    }
  }
  return result;
}

void check_same(const Tensor& a, const Tensor& b) {
  REQUIRE(a.defined() == b.defined());
  if (a.defined()) CHECK(largest_difference(a, b) < bound);
}

// Everything but S is what it was.
void check_rest_kept(const SiteWeight& after, const SiteWeight& before) {
  CHECK(same_bits(after.reference, before.reference));
  CHECK(same_bits(after.mask, before.mask));
  CHECK(same_bits(after.u, before.u));
  CHECK(same_bits(after.v, before.v));
}

template <typename Check>
void for_every_form(Check check) {
  for (const Form& form : forms()) {
    INFO(text_of(form));
    check(form, make_weight(shape, form));
  }
}

}  // namespace

TEST_CASE("the effective weight is R + S + U V^T in every form, and the nominal size nnz(S) + r(m + n)") {
  for_every_form([](const Form& form, const SiteWeight& weight) {
    CHECK(largest_difference(effective_weight(weight), by_loop(weight)) < bound);
    std::int64_t nonzero = 0;
    for (std::int64_t i = 0; i < rows * columns; ++i) nonzero += weight.sparse.reshape({-1})[i].item<double>() != 0;
    CHECK(nominal_size(weight) == nonzero + (form.low_rank ? rows + columns : 0));
    CHECK((nonzero < rows * columns) == form.mask);
  });
}

TEST_CASE("the effective weight of a convolution has the convolution's shape") {
  const SiteWeight weight = make_weight({4, 1, 3}, {true, true, true});
  CHECK(effective_weight(weight).sizes() == at::IntArrayRef({4, 1, 3}));
  Tensor flat = weight.sparse.reshape({4, 3}) + weight.reference.reshape({4, 3}) + at::matmul(weight.u, weight.v.t());
  CHECK(largest_difference(effective_weight(weight).reshape({4, 3}), flat) < bound);
}

TEST_CASE("apply_mask: S loses what is dropped, masks meet, R and U V^T stay") {
  for_every_form([](const Form& form, const SiteWeight& before) {
    SiteWeight after = before;
    const Tensor keep = coin(shape, 2);
    apply_mask(after, keep);
    CHECK(same_bits(after.sparse, before.sparse * keep + 0.0));
    CHECK(same_bits(after.mask, form.mask ? at::logical_and(before.mask, keep) : keep));
    CHECK(same_bits(after.reference, before.reference));
    CHECK(same_bits(after.u, before.u));
    CHECK(masked_zeros_hold(after));
  });
}

TEST_CASE("apply_mask with_low_rank: rows and columns that are wholly masked leave U V^T as well") {
  for_every_form([](const Form& form, const SiteWeight& before) {
    SiteWeight after = before;
    Tensor keep = at::ones(shape, at::kBool);
    keep[2].fill_(false);
    keep.select(1, 5).fill_(false);
    apply_mask(after, keep, true);
    const Tensor low_rank = form.low_rank ? at::matmul(before.u, before.v.t()) : at::zeros(shape, at::kDouble);
    Tensor expected = low_rank.clone();
    const Tensor all = after.mask;
    for (std::int64_t i = 0; i < rows; ++i) {
      if (!all[i].any().item<bool>()) expected[i].fill_(0);
    }
    for (std::int64_t j = 0; j < columns; ++j) {
      if (!all.select(1, j).any().item<bool>()) expected.select(1, j).fill_(0);
    }
    const Tensor left = form.low_rank ? at::matmul(after.u, after.v.t()) : at::zeros(shape, at::kDouble);
    check_same(left, expected);
    CHECK(left[2].abs().max().item<double>() == 0);
  });
}

TEST_CASE("apply_mask turns dropped infinities and NaN into zeros") {
  SiteWeight weight = make_weight(shape, {});
  weight.sparse[0][0] = std::numeric_limits<double>::infinity();
  weight.sparse[0][1] = std::numeric_limits<double>::quiet_NaN();
  Tensor keep = at::ones(shape, at::kBool);
  keep[0].fill_(false);
  apply_mask(weight, keep);
  CHECK(weight.sparse[0].abs().max().item<double>() == 0);
}

TEST_CASE("edit_low_rank: small ranks go to U V^T, whatever else there is") {
  for_every_form([](const Form& form, const SiteWeight& before) {
    SiteWeight after = before;
    const Tensor u = normal({rows, 1}, 3), v = normal({columns, 1}, 4);
    const EditReport report = edit_low_rank(after, u, v);
    check_same(effective_weight(after), by_loop(before) + at::matmul(u, v.t()));
    CHECK(report.low_rank);
    CHECK(report.rank == (form.low_rank ? 2 : 1));
    CHECK(after.rank() == report.rank);
    CHECK(report.lost_norm == 0);
    CHECK(report.requested_norm == Approx(at::matmul(u, v.t()).norm().item<double>()));
    CHECK_FALSE(report.gave_up_mask);
    CHECK(same_bits(after.sparse, before.sparse));
    CHECK(same_bits(after.mask, before.mask));
    CHECK(same_bits(after.reference, before.reference));
  });
}

TEST_CASE(
    "edit_low_rank: where U V^T would no longer be smaller, what the mask lets through goes to S, and the loss is "
    "told") {
  for_every_form([](const Form& form, const SiteWeight& before) {
    SiteWeight after = before;
    const Tensor u = normal({rows, 5}, 3), v = normal({columns, 5}, 4);
    const Tensor delta = at::matmul(u, v.t());
    const EditReport report = edit_low_rank(after, u, v);
    const Tensor allowed = form.mask ? delta * before.mask : delta;
    check_same(after.sparse, before.sparse + allowed);
    check_rest_kept(after, before);
    CHECK_FALSE(report.low_rank);
    CHECK(report.rank == before.rank());
    CHECK(report.lost_norm == Approx((delta - allowed).norm().item<double>()).margin(1e-14));
    CHECK((report.lost_norm > 0) == form.mask);
    CHECK(masked_zeros_hold(after));
  });
}

TEST_CASE("edit_low_rank: the border is r(m + n) < mn by numerical rank, not by the factors' width") {
  SiteWeight weight = make_weight(shape, {});
  const Tensor u = normal({rows, 1}, 3), v = normal({columns, 1}, 4);
  // Six columns that span one direction.
  const EditReport report = edit_low_rank(weight, u.expand({rows, 6}), v.expand({columns, 6}));
  CHECK(report.low_rank);
  CHECK(report.rank == 1);
  // 3 (8 + 7) = 45 < 56 <= 4 (8 + 7) = 60.
  SiteWeight three = make_weight(shape, {}), four = three;
  CHECK(edit_low_rank(three, normal({rows, 3}, 5), normal({columns, 3}, 6)).low_rank);
  CHECK_FALSE(edit_low_rank(four, normal({rows, 4}, 5), normal({columns, 4}, 6)).low_rank);
}

TEST_CASE("edit_low_rank: an edit taken back leaves no factors, and one of rank 0 makes none") {
  SiteWeight weight = make_weight(shape, {});
  const Tensor u = normal({rows, 2}, 3), v = normal({columns, 2}, 4);
  const EditReport none =
      edit_low_rank(weight, at::zeros({rows, 0}, at::kDouble), at::zeros({columns, 0}, at::kDouble));
  CHECK(none.rank == 0);
  CHECK_FALSE(weight.u.defined());
  edit_low_rank(weight, at::zeros({rows, 1}, at::kDouble), v.narrow(1, 0, 1));
  CHECK_FALSE(weight.u.defined());
  edit_low_rank(weight, u, v);
  REQUIRE(weight.rank() == 2);
  edit_low_rank(weight, u, -2 * v);
  check_same(at::matmul(weight.u, weight.v.t()), -at::matmul(u, v.t()));
}

TEST_CASE("edit_dense: what the mask lets through goes to S, in every form") {
  for_every_form([](const Form& form, const SiteWeight& before) {
    SiteWeight after = before;
    const Tensor delta = normal(shape, 7);
    const EditReport report = edit_dense(after, delta);
    const Tensor allowed = form.mask ? delta * before.mask : delta;
    check_same(after.sparse, before.sparse + allowed);
    check_rest_kept(after, before);
    CHECK(report.requested_norm == Approx(delta.norm().item<double>()));
    CHECK(report.lost_norm == Approx((delta - allowed).norm().item<double>()).margin(1e-14));
    CHECK(masked_zeros_hold(after));
  });
}

TEST_CASE("scale_rows and scale_columns: W is scaled; a mask beside a reference is refused or, if allowed, given up") {
  for (const int axis : {0, 1}) {
    INFO("axis " << axis);
    for_every_form([axis](const Form& form, const SiteWeight& before) {
      const Tensor l = normal({axis == 0 ? rows : columns}, 8);
      const Tensor expected = by_loop(before) * (axis == 0 ? l.reshape({-1, 1}) : l.reshape({1, -1}));
      const auto scale = [&](SiteWeight& weight, bool densify) {
        return axis == 0 ? scale_rows(weight, l, densify) : scale_columns(weight, l, densify);
      };
      SiteWeight after = before;
      const bool clash = form.mask && form.reference;
      if (clash) {
        CHECK(error_of([&] { scale(after, false); }) ==
              "scaling a site that is masked and has a reference would fill the mask's zeros with the reference's "
              "change; fold "
              "with densify = true to give the mask up, or drop the reference first");
        CHECK(same_bits(after.sparse, before.sparse));
        CHECK(same_bits(after.mask, before.mask));
      }
      const EditReport report = scale(after, clash);
      check_same(effective_weight(after), expected);
      CHECK(report.gave_up_mask == clash);
      CHECK(after.has_mask() == (form.mask && !clash));
      CHECK(same_bits(after.reference, before.reference));
      CHECK(after.rank() == before.rank());
      CHECK(masked_zeros_hold(after));
    });
  }
}

TEST_CASE("set_reference: W stays, and a mask goes where S is no longer zero under it") {
  for_every_form([](const Form& form, const SiteWeight& before) {
    SiteWeight after = before;
    const Tensor reference = normal(shape, 9);
    const EditReport report = set_reference(after, reference);
    check_same(effective_weight(after), by_loop(before));
    CHECK(same_bits(after.reference, reference));
    CHECK(report.gave_up_mask == form.mask);
    CHECK_FALSE(after.has_mask());
    CHECK(same_bits(after.u, before.u));
    // A reference that agrees with R + S wherever the mask drops leaves the mask.
    SiteWeight kept = before;
    const Tensor held = form.reference ? before.reference + before.sparse : before.sparse;
    const Tensor agreeing = form.mask ? at::where(before.mask, reference, held) : reference;
    CHECK_FALSE(set_reference(kept, agreeing).gave_up_mask);
    CHECK(same_bits(kept.mask, before.mask));
    check_same(effective_weight(kept), by_loop(before));
    CHECK(masked_zeros_hold(kept));
  });
}

TEST_CASE("densify: everything goes into S") {
  for_every_form([](const Form& form, const SiteWeight& before) {
    SiteWeight after = before;
    const EditReport report = densify(after);
    check_same(after.sparse, by_loop(before));
    CHECK_FALSE(after.has_reference());
    CHECK_FALSE(after.has_mask());
    CHECK(after.rank() == 0);
    CHECK(report.gave_up_mask == form.mask);
    CHECK(report.rank == 0);
  });
}

TEST_CASE("reindex: rows and columns of everything are taken, to permute and to slice") {
  for (const int axis : {0, 1}) {
    for (const bool slice : {false, true}) {
      INFO("axis " << axis << (slice ? ", slice" : ", permutation"));
      for_every_form([axis, slice](const Form&, const SiteWeight& before) {
        Tensor index = random_permutation(RandomStream(10), axis == 0 ? rows : columns);
        if (slice) index = index.narrow(0, 0, 4);
        SiteWeight after = before;
        reindex(after, axis, index);
        check_same(effective_weight(after), by_loop(before).index_select(axis, index));
        CHECK(masked_zeros_hold(after));
        if (before.has_mask()) CHECK(same_bits(after.mask, before.mask.index_select(axis, index)));
      });
    }
  }
  SiteWeight taps = make_weight({4, 1, 3}, {});
  CHECK(error_of([&] { reindex(taps, 1, at::arange(3, at::kLong)); }) == "only matrices have columns to permute");
}

TEST_CASE("recompress finds the numerical rank and keeps the product, for fp32 too") {
  for (const auto type : {at::kDouble, at::kFloat}) {
    for (const std::int64_t width : {1, 3, 9}) {
      INFO("type " << c10::toString(type) << ", " << width << " columns");
      SiteWeight weight = make_weight({12, 10}, {});
      Tensor u = normal({12, 2}, 11), v = normal({10, 2}, 12);
      // `width` columns in the span of two.
      Tensor spread = normal({2, width}, 13);
      weight.u = at::matmul(u, spread);
      weight.v = at::matmul(v, normal({2, width}, 14));
      const Tensor product = at::matmul(weight.u, weight.v.t());
      weight.u = weight.u.to(type);
      weight.v = weight.v.to(type);
      recompress(weight);
      CHECK(small::relative_error(at::matmul(weight.u, weight.v.t()), product) < (type == at::kDouble ? 1e-12 : 2e-6));
      CHECK(weight.u.scalar_type() == type);
      if (type == at::kDouble) CHECK(weight.rank() == std::min<std::int64_t>(width, 2));
      CHECK(weight.rank() <= std::min<std::int64_t>(width, 9));
    }
  }
}

TEST_CASE("edits compose in any order with masks: zeros are never filled") {
  // mask, edit, mask, scale, edit ...: all orders of four stages on a masked weight.
  std::vector<int> order = {0, 1, 2, 3};
  do {
    SiteWeight weight = make_weight(shape, {});
    Tensor expected = weight.sparse, low_rank = at::zeros(shape, at::kDouble), keep = at::ones(shape, at::kBool);
    for (const int stage : order) {
      if (stage == 0) {
        apply_mask(weight, coin(shape, 15));
        keep = at::logical_and(keep, coin(shape, 15));
        expected = expected * keep;
      } else if (stage == 1) {
        edit_dense(weight, normal(shape, 16));
        expected = expected + normal(shape, 16) * keep;
      } else if (stage == 2) {
        edit_low_rank(weight, normal({rows, 1}, 17), normal({columns, 1}, 18));
        low_rank = low_rank + at::matmul(normal({rows, 1}, 17), normal({columns, 1}, 18).t());
      } else {
        scale_rows(weight, normal({rows}, 19));
        expected = expected * normal({rows}, 19).reshape({-1, 1});
        low_rank = low_rank * normal({rows}, 19).reshape({-1, 1});
      }
      CHECK(masked_zeros_hold(weight));
    }
    check_same(weight.sparse, expected);
    check_same(effective_weight(weight), expected + low_rank);
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace colonnade
