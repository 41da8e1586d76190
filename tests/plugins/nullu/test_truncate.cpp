#include <catch2/catch.hpp>

#include "colonnade/tensor/calibration.h"
#include "nullu_support.h"

namespace colonnade::nullu {

namespace {

using Catch::Matchers::Contains;

const std::string in_proj = "backbone.layers.0.mixer.in_proj";    // [192, 48]
const std::string out_proj = "backbone.layers.1.mixer.out_proj";  // [48, 96]

Value truncate_model(const Model& model, Json params, const std::optional<Field>& weights = {}) {
  small::Inputs inputs = {{"model", model.to_field()}};
  if (weights) inputs.emplace_back("weights", *weights);
  return run("truncate", std::move(params), inputs);
}

Tensor singular_of(const Tensor& matrix) {
  return at::linalg_svdvals(matrix.to(at::kDouble));
}

}  // namespace

TEST_CASE(
    "a truncated weight has the rank asked for, the error of the best, and is kept as factors while they are smaller") {
  for (const char* dtype : {"f32", "f64"}) {
    const Model model = mamba(dtype);
    const Tensor before = model.weight(in_proj).sparse, singular = singular_of(before);
    for (const std::int64_t rank : {1, 12, 38, 39, 47}) {  // 192 * 48 / 240 = 38.4
      const Value value =
          truncate_model(model, {{"on", "effective"}, {"rank", rank}, {"sites", in_proj}, {"method", "svd"}});
      const Model small_model = Model::from_field(value.at("model"));
      const SiteWeight& weight = small_model.weight(in_proj);
      CHECK((weight.rank() > 0) == (rank <= 38));
      if (weight.rank() > 0) {
        CHECK(weight.rank() == rank);
        CHECK(!weight.sparse.any().item<bool>());
        CHECK(cell(value, "nominal_after") == rank * 240);
      }
      const double best = singular.narrow(0, rank, 48 - rank).norm().item<double>();
      const double error = (effective_weight(weight) - before).to(at::kDouble).norm().item<double>();
      CHECK(error == Approx(best).epsilon(1e-5));
      CHECK(cell(value, "error").get<double>() == Approx(best).epsilon(1e-5));
      CHECK(cell(value, "tail").get<double>() == Approx(best).epsilon(1e-9));
    }
  }
}

TEST_CASE("on its low-rank part a site keeps everything else, mask and reference too") {
  Model model = mamba("f64").mutable_copy();
  SiteWeight& weight = model.writable(out_proj);
  set_reference(weight, weight.sparse * 0.5);
  apply_mask(weight, normal({48, 96}, 7) > 0);
  edit_low_rank(weight, normal({48, 10}, 8), normal({96, 10}, 9));
  const Value value = truncate_model(model, {{"rank_ratio", 0.4}});
  CHECK(table_from(value.at("report")).rows() == 1);
  CHECK(cell(value, "rank_before") == 10);
  CHECK(cell(value, "rank") == 4);
  CHECK(cell(value, "gave_up_mask") == false);
  const Model after_model = Model::from_field(value.at("model"));
  const SiteWeight& after = after_model.weight(out_proj);
  CHECK(at::equal(after.sparse, weight.sparse));
  CHECK(at::equal(after.mask, weight.mask));
  CHECK(at::equal(after.reference, weight.reference));
  const Tensor factors = at::matmul(weight.u, weight.v.t());
  const double best = singular_of(factors).narrow(0, 4, 44).norm().item<double>();
  CHECK((at::matmul(after.u, after.v.t()) - factors).norm().item<double>() == Approx(best).epsilon(1e-9));
}

TEST_CASE("truncating the effective weight gives the mask up, and the record says so") {
  Model model = mamba("f64").mutable_copy();
  apply_mask(model.writable(in_proj), normal({192, 48}, 7) > 1.6);
  const Value value = truncate_model(model, {{"on", "effective"}, {"rank", 4}, {"sites", in_proj + "," + out_proj}});
  CHECK(table_from(value.at("report")).column("gave_up_mask").cells == Json({true, false}));
  CHECK(!Model::from_field(value.at("model")).weight(in_proj).has_mask());
}

TEST_CASE("of a difference the reference stays; of weights it goes in") {
  Model model = mamba("f64").mutable_copy();
  for (const std::string& site : {in_proj, out_proj}) {
    SiteWeight& weight = model.writable(site);
    set_reference(weight, weight.sparse + 0.1 * normal(weight.sparse.sizes(), 5));
  }
  const Model difference = Model::from_field(truncate_model(model, {{"on", "effective"}, {"rank", 5}}).at("model"));
  CHECK(at::equal(difference.weight(in_proj).reference, model.weight(in_proj).reference));
  CHECK(difference.weight(in_proj).rank() == 5);
  CHECK(difference.weight("backbone.layers.0.mixer.x_proj").rank() == 0);  // it has no reference
  const Model whole = Model::from_field(
      truncate_model(model, {{"on", "effective"}, {"rank", 5}, {"of", "weights"}, {"sites", in_proj}}).at("model"));
  CHECK(!whole.weight(in_proj).has_reference());
  const double best = singular_of(effective_weight(model.weight(in_proj))).narrow(0, 5, 43).norm().item<double>();
  CHECK((effective_weight(whole.weight(in_proj)) - effective_weight(model.weight(in_proj))).norm().item<double>() ==
        Approx(best).epsilon(1e-6));
}

TEST_CASE("weighing by activations is the best there is on them, and beats plain truncation on held-out ones") {
  const Model model = mamba("f64");
  const auto statistics_of = [&](const Tokens& text) {
    return collect_statistics(model, {out_proj}, calibration_batches(to_field(text), 20, 50, at::kDouble));
  };
  const Statistics seen = statistics_of(small::text(1100, 1)), held_out = statistics_of(small::text(1100, 2));
  const Tensor before = model.weight(out_proj).sparse;
  const auto error_on = [&](const Tensor& after, const Statistics& statistics) {
    const Tensor difference = before - after;
    return std::sqrt((at::matmul(difference, statistics.sites.at(out_proj).gram) * difference).sum().item<double>());
  };
  for (const std::int64_t rank : {2, 8, 20}) {
    const Json params = {{"on", "effective"}, {"rank", rank}, {"sites", out_proj}, {"method", "svd"}};
    const auto truncated = [&](const std::optional<Field>& weights) {
      return effective_weight(Model::from_field(truncate_model(model, params, weights).at("model")).weight(out_proj));
    };
    const Tensor plain = truncated({}), weighted = truncated(to_field(seen));
    CHECK(error_on(weighted, held_out) < error_on(plain, held_out));
    // The singular values of W K left out are the least possible error.
    auto [values, vectors] = at::linalg_eigh(seen.sites.at(out_proj).gram, "L");
    const Tensor weighed = singular_of(at::matmul(before, vectors * values.clamp_min(0).sqrt()));
    const double best = weighed.narrow(0, rank, weighed.numel() - rank).norm().item<double>();
    CHECK(error_on(weighted, seen) == Approx(best).epsilon(1e-6));
  }
}

TEST_CASE("every method works through the op, and energy keeps what it says") {
  const Model model = mamba("f64");
  for (const char* method : {"svd", "qr", "randomised", "auto"}) {
    const Value value =
        truncate_model(model, {{"on", "effective"}, {"rank", 4}, {"sites", in_proj}, {"method", method}});
    CHECK(Model::from_field(value.at("model")).weight(in_proj).rank() == 4);
    if (std::string(method) != "auto") CHECK(cell(value, "method") == method);
  }
  const Value value = truncate_model(model, {{"on", "effective"}, {"energy", 0.5}, {"sites", in_proj}});
  const Tensor squares = singular_of(model.weight(in_proj).sparse).square();
  const auto rank = cell(value, "rank").get<std::int64_t>();
  const double all = squares.sum().item<double>();
  CHECK(squares.narrow(0, 0, rank).sum().item<double>() >= 0.5 * all);
  CHECK(squares.narrow(0, 0, rank - 1).sum().item<double>() < 0.5 * all);
}

TEST_CASE("sites with nothing to truncate are named and left") {
  Model model = mamba().mutable_copy();
  model.writable(in_proj).sparse.zero_();
  const Value value = truncate_model(model, {{"on", "effective"}, {"rank", 3}, {"sites", in_proj}});
  CHECK(cell(value, "skipped") == "all zero");
  const Value none = truncate_model(model, {{"rank", 3}, {"sites", out_proj}});
  CHECK(cell(none, "skipped") == "it has no low-rank part");
}

TEST_CASE("mistakes are told") {
  const Model model = mamba();
  const auto error = [&](Json params) { return small::error_of([&] { truncate_model(model, std::move(params)); }); };
  CHECK_THAT(error({{"rank", 3}}), Contains("no site of the model has a low-rank part"));
  CHECK_THAT(error({{"on", "effective"}}), Contains("exactly one of `rank`, `rank_ratio` and `energy`; 0 of them"));
  CHECK_THAT(error({{"on", "effective"}, {"rank", 3}, {"energy", 0.5}}), Contains("2 of them are given"));
  CHECK_THAT(error({{"on", "effective"}, {"rank", 3}, {"sites", "*.norm"}}),
             Contains("is a vector, which has no rank"));
  CHECK_THAT(error({{"on", "effective"}, {"energy", 0.5}, {"method", "randomised"}}),
             Contains("say `rank` or `rank_ratio`"));
  CHECK_THAT(error({{"on", "effective"}, {"rank", 3}, {"of", "delta"}}), Contains("relative_to"));
}

}  // namespace colonnade::nullu
