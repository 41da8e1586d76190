#include <catch2/catch.hpp>

#include "colonnade/tensor/calibration.h"
#include "nullu_support.h"
#include "plugins/nullu/pairs.h"

namespace colonnade::nullu {

namespace {

using Catch::Matchers::Contains;

const std::string in_proj = "backbone.layers.0.mixer.in_proj", out_proj = "backbone.layers.1.mixer.out_proj";
const Json windows = {{"samples", 30}, {"length", 20}};

Value pairs(const Model& model, Json params) {
  params.update(windows);
  return run("contrasts", std::move(params),
             {{"model", model.to_field()},
              {"truthful", to_field(small::text(700, 1))},
              {"misleading", to_field(small::text(700, 2))}});
}

Value projected(const Model& model, const Value& contrast, Json params) {
  return run("project", std::move(params), {{"model", model.to_field()}, {"contrasts", contrast.at("contrasts")}});
}

// Everything one site gives or is given, [positions, D].
Tensor seen(const Model& model, const std::string& site, Side side) {
  struct Watch final : Observer {
    std::string name;
    Side side = Side::output;
    std::vector<Tensor> rows;
    bool wants_site(const SiteSpec& spec) const override { return spec.name == name; }
    void on_site(const SiteSpec&, const Tensor& in, const Tensor& out) override {
      const Tensor& x = side == Side::output ? out : in;
      rows.push_back(x.reshape({-1, x.size(-1)}).to(at::kDouble).clone());
    }
  } watch;
  watch.name = site;
  watch.side = side;
  for (const Batch& batch : calibration_batches(to_field(small::text(700, 3)), 30, 20, model.dtype())) {
    model.forward(batch, {}, &watch);
  }
  return at::cat(watch.rows, 0);
}

Tensor basis_of(const Value& contrast, const std::string& site, std::int64_t rank) {
  SubspaceRule rule;
  rule.rank = rank;
  return subspace_of(contrasts_from(contrast.at("contrasts")).sites.at(site), rule).basis;
}

}  // namespace

TEST_CASE("a row of E is half the difference of a pair's means") {
  const Model model = mamba("f64");
  const Value value = pairs(model, {{"sites", in_proj}});
  const Tensor e = contrasts_from(value.at("contrasts")).sites.at(in_proj).difference;
  REQUIRE(e.size(0) == 30);
  // The first pair by hand.
  const auto mean = [&](std::uint64_t text) {
    struct Watch final : Observer {
      Tensor rows;
      bool wants_site(const SiteSpec& spec) const override { return spec.name == in_proj; }
      void on_site(const SiteSpec&, const Tensor&, const Tensor& out) override { rows = out[0].clone(); }
    } watch;
    model.forward(window_batch(small::text(700, text), {0}, 20), {}, &watch);
    Tensor sum = at::zeros({192}, at::kDouble);
    for (std::int64_t t = 0; t < 20; ++t) sum += watch.rows[t];
    return sum / 20;
  };
  CHECK(small::relative_error(e[0], (mean(1) - mean(2)) / 2) < 1e-12);
}

TEST_CASE("planted directions are found") {
  const std::int64_t dimension = 40, count = 60;
  const Tensor planted = std::get<0>(at::linalg_qr(normal({dimension, 3}, 1), "reduced"));
  const Tensor strength = normal({count, 3}, 2) * at::tensor({3.0, 2.0, 1.5});
  const Contrast contrast{at::matmul(strength, planted.t()) + 1e-4 * normal({count, dimension}, 3),
                          planted.select(1, 0).contiguous()};
  const Subspace found = subspace_of(contrast, {});
  CHECK(found.basis.size(1) == 3);
  CHECK(found.energy > 0.99);
  const auto projector = [](const Tensor& basis) { return at::matmul(basis, basis.t()); };
  CHECK(small::largest_difference(projector(found.basis), projector(planted)) < 1e-3);
  // With its first direction centred out, two are left.
  SubspaceRule centred;
  centred.centring = 1;
  centred.rank = 2;
  const Tensor rest = subspace_of(contrast, centred).basis;
  CHECK(at::mv(rest.t(), planted.select(1, 0)).norm().item<double>() < 1e-3);
  // Sums of values ask for more directions than sums of squares.
  SubspaceRule values;
  values.squares = false;
  values.energy = 0.8;
  SubspaceRule squares = values;
  squares.squares = true;
  CHECK(subspace_of(contrast, values).basis.size(1) > subspace_of(contrast, squares).basis.size(1));
}

TEST_CASE("no more directions are removed than the pairs have") {
  const Tensor direction = normal({20}, 1), along = normal({9}, 2);
  SubspaceRule rule;
  rule.rank = 4;
  const Subspace found = subspace_of({at::outer(along, direction), direction / direction.norm()}, rule);
  REQUIRE(found.basis.size(1) == 1);
  CHECK(std::abs(at::dot(found.basis.select(1, 0), direction).item<double>()) ==
        Approx(direction.norm().item<double>()).epsilon(1e-12));
  rule.centring = 1;
  CHECK(subspace_of({at::outer(along, direction), direction / direction.norm()}, rule).basis.size(1) == 0);
}

TEST_CASE("sites that give the same for both sides are left and named, the others cleaned") {
  const Model model = mamba("f64");
  Value contrast = pairs(model, {{"sites", in_proj + "," + out_proj}});
  Contrasts found = contrasts_from(contrast.at("contrasts"));
  found.sites.at(in_proj).difference.zero_();
  contrast.fields["contrasts"] = to_field(found);
  const Value value = projected(model, contrast, {{"rank", 3}});
  CHECK(cell(value, "k", 0) == 0);
  CHECK_THAT(cell(value, "skipped", 0).get<std::string>(), Contains("the same for both sides"));
  CHECK(cell(value, "k", 1) == 3);
  CHECK(cell(value, "skipped", 1) == "");
  const Model clean = Model::from_field(value.at("model"));
  CHECK(at::equal(effective_weight(clean.weight(in_proj)), effective_weight(model.weight(in_proj))));
  CHECK_FALSE(at::equal(effective_weight(clean.weight(out_proj)), effective_weight(model.weight(out_proj))));
}

TEST_CASE("what the site gives, bias included, has nothing left in the subspace") {
  for (const char* dtype : {"f32", "f64"}) {
    const Model model = mamba(dtype);
    const double allowed = std::string(dtype) == "f32" ? 2e-6 : 1e-13;
    const Value contrast = pairs(model, {{"sites", in_proj + "," + out_proj}});
    const Value value = projected(model, contrast, {{"rank", 4}});
    const Model clean = Model::from_field(value.at("model"));
    for (std::size_t row = 0; const std::string& site : {in_proj, out_proj}) {
      const Tensor basis = basis_of(contrast, site, 4);
      const double before = at::matmul(seen(model, site, Side::output), basis).norm().item<double>();
      const double after = at::matmul(seen(clean, site, Side::output), basis).norm().item<double>();
      CHECK(after <= allowed * before);
      CHECK(cell(value, "k", row) == 4);
      CHECK(cell(value, "rank", row) == 4);
      CHECK(cell(value, "left", row++).get<double>() <= allowed);
      // What lies outside stays: (I - P) W.
      const Tensor outside = at::eye(basis.size(0), at::kDouble) - at::matmul(basis, basis.t());
      CHECK(small::relative_error(effective_weight(clean.weight(site)),
                                  at::matmul(outside, model.weight(site).sparse.to(at::kDouble))) < allowed);
    }
  }
}

TEST_CASE("on the input side the site no longer sees the subspace") {
  const Model model = mamba("f64");
  const Value contrast = pairs(model, {{"sites", out_proj}, {"side", "input"}, {"positions", "last"}});
  const Model blind = Model::from_field(projected(model, contrast, {{"rank", 5}}).at("model"));
  const Tensor basis = basis_of(contrast, out_proj, 5);
  CHECK(basis.size(0) == 96);
  CHECK(at::matmul(effective_weight(blind.weight(out_proj)), basis).norm().item<double>() <
        1e-13 * model.weight(out_proj).sparse.norm().item<double>());
  CHECK(at::equal(blind.weight("backbone.layers.1.mixer.out_proj.bias").sparse,
                  model.weight("backbone.layers.1.mixer.out_proj.bias").sparse));
}

TEST_CASE("zeros of a mask stay, references stay, and what no longer fits in factors says what it lost") {
  Model model = mamba("f64").mutable_copy();
  SiteWeight& weight = model.writable(in_proj);
  set_reference(weight, weight.sparse * 0.9);
  apply_mask(weight, normal({192, 48}, 5) > 1);
  const Value contrast = pairs(model, {{"sites", in_proj}});
  const Value value = projected(model, contrast, {{"rank", 3}});
  const Model clean = Model::from_field(value.at("model"));
  CHECK(at::equal(clean.weight(in_proj).sparse, weight.sparse));
  CHECK(at::equal(clean.weight(in_proj).mask, weight.mask));
  CHECK(at::equal(clean.weight(in_proj).reference, weight.reference));
  CHECK(cell(value, "gave_up_mask") == false);
  CHECK(cell(value, "left").get<double>() < 1e-13);
  // 30 pairs have rank 30, and 38 already there make 68 > 38.4.
  edit_low_rank(weight, normal({192, 37}, 8), normal({48, 37}, 9));
  const Value full = projected(model, contrast, {{"rank", 20}});
  CHECK(cell(full, "low_rank") == false);
  CHECK(cell(full, "lost_norm").get<double>() > 0);
  CHECK(cell(full, "left").get<double>() > 0.01);
  const Model kept = Model::from_field(full.at("model"));
  CHECK(!at::logical_and(kept.weight(in_proj).sparse != 0, weight.mask.logical_not()).any().item<bool>());
}

TEST_CASE("a matrix that is all zero stays so, and nothing divides by what it lacks") {
  Model model = mamba("f64").mutable_copy();
  const Value contrast = pairs(model, {{"sites", in_proj}});
  model.writable(in_proj).sparse.zero_();
  const Value value = projected(model, contrast, {{"rank", 3}});
  CHECK(effective_weight(Model::from_field(value.at("model")).weight(in_proj)).abs().max().item<double>() == 0);
  CHECK(std::isfinite(cell(value, "left").get<double>()));
}

TEST_CASE("pairs without a difference, pairs that do not match, other models: told by name") {
  const Model model = mamba();
  const Field text = to_field(small::text(700, 1));
  const auto collect = [&](const Model& on, const Field& wrong, const std::string& sites) {
    Json params = windows;
    params["sites"] = sites;
    return run("contrasts", params, {{"model", on.to_field()}, {"truthful", text}, {"misleading", wrong}});
  };
  const Value same = collect(model, text, in_proj);
  CHECK_THAT(small::error_of([&] { projected(model, same, Json::object()); }),
             Contains("'" + in_proj + "' gives the same for both sides"));
  CHECK_THAT(small::error_of([&] { collect(model, to_field(small::text(300, 2)), in_proj); }),
             Contains("30 samples against 14"));
  CHECK_THAT(small::error_of([&] { collect(model, text, "*.conv1d"); }), Contains("projecting is for kind:linear"));
  const Value other = collect(model, to_field(small::text(700, 2)), in_proj);
  CHECK_THAT(small::error_of([&] { projected(small::make(), other, Json::object()); }),
             Contains("sites that the model does not have"));
  CHECK_THAT(small::error_of([&] {
               run("project", {}, {{"model", model.to_field()}, {"contrasts", model.to_field()}});
             }),
             Contains("nullu/contrasts"));
}

}  // namespace colonnade::nullu
