#include <algorithm>
#include <catch2/catch.hpp>

#include "alphaedit_support.h"

namespace colonnade::alphaedit {

namespace {

using Catch::Matchers::Contains;

constexpr const char* chosen = "*.in_proj,*.out_proj";

Model thinned(const Model& model) {
  Model thin = model.mutable_copy();
  for (const std::string& site : selected_names(select_sites(model, chosen))) {
    SiteWeight& weight = thin.writable(site);
    apply_mask(weight, random_uniform(RandomStream(3).at(site), weight.sparse.sizes(), at::kDouble) < 0.4);
  }
  return thin;
}

Value compensate(const Model& model, const Model& before, const Statistics& keys, Json params,
                 const std::optional<Statistics>& preserve = {}, const std::optional<Statistics>& held_out = {}) {
  small::Inputs inputs = {{"model", model.to_field()}, {"before", before.to_field()}, {"keys", to_field(keys)}};
  if (preserve) inputs.emplace_back("preserve", to_field(*preserve));
  if (held_out) inputs.emplace_back("held_out", to_field(*held_out));
  return run("compensate", std::move(params), inputs);
}

}  // namespace

TEST_CASE("outputs come nearer again, by a change of low rank that fills no zeros") {
  for (const char* dtype : {"f32", "f64"}) {
    const Model before = mamba(dtype), thin = thinned(before);
    const Statistics keys = statistics_of(before, chosen);
    double last = 1e300;
    for (const std::int64_t rank : {1, 4, 16}) {
      const Value value = compensate(thin, before, keys, {{"rank", rank}, {"alpha", 1.0}});
      const Model mended = Model::from_field(value.at("model"));
      double error = 0;
      for (const auto& [name, site] : keys.sites) {
        const SiteWeight &a = thin.weight(name), &b = mended.weight(name);
        CHECK(at::equal(a.sparse, b.sparse));
        CHECK(at::equal(a.mask, b.mask));
        // The first layer is given no more directions than there are tokens.
        const bool first = name.find("layers.0.mixer.in_proj") != std::string::npos;
        CHECK(b.rank() == (first ? std::min(rank, small::vocabulary) : rank));
        const Tensor lost = (effective_weight(before.weight(name)) - effective_weight(b)).to(at::kDouble);
        error += (at::matmul(lost, site.gram) * lost).sum().item<double>();
      }
      CHECK(error < last);
      last = error;
      double reported = 0;
      const Table report = table_from(value.at("report"));
      for (const Json& each : report.column("error_after").cells) reported += each.get<double>() * each.get<double>();
      CHECK(reported == Approx(error).epsilon(1e-4));
      CHECK(scalar_from(value.at("restored")).value > 0);
      CHECK(scalar_from(value.at("identity")).value == 0);
    }
    const auto distance = [&](const Model& model) {
      return (model.forward(small::batch(4, 30, 5)) - before.forward(small::batch(4, 30, 5))).norm().item<double>();
    };
    const Model mended = Model::from_field(compensate(thin, before, keys, {{"rank", 16}, {"alpha", 1.0}}).at("model"));
    CHECK(distance(mended) < distance(thin));
  }
}

TEST_CASE("what is preserved moves within its bound, and half of alpha is half of the change") {
  const Model before = mamba(), thin = thinned(before);
  const Statistics keys = statistics_of(before, chosen, 1), preserve = statistics_of(before, chosen, 2);
  const Json params = {{"rank", 6}, {"alpha", 1.0}, {"epsilon", 0.05}};
  const Value whole = compensate(thin, before, keys, params, preserve);
  Json half_params = params;
  half_params["alpha"] = 0.5;
  const Value half = compensate(thin, before, keys, half_params, preserve);
  const Model a = Model::from_field(whole.at("model")), b = Model::from_field(half.at("model"));
  for (std::size_t row = 0; row < table_from(whole.at("report")).rows(); ++row) {
    const std::string site = cell(whole, "site", row);
    CHECK(cell(whole, "drift", row).get<double>() <= cell(whole, "drift_bound", row).get<double>() * (1 + 1e-9));
    CHECK(cell(whole, "free_dimensions", row).get<std::int64_t>() < before.site(site).columns());
    CHECK(cell(whole, "error_after", row).get<double>() < cell(whole, "error_before", row).get<double>());
    const Tensor base = effective_weight(thin.weight(site));
    CHECK(small::relative_error((effective_weight(b.weight(site)) - base) * 2,
                                effective_weight(a.weight(site)) - base) < 1e-6);
  }
}

TEST_CASE("how far other inputs of the preserved kind move is told, and it is less than without their null space") {
  const Model before = mamba(), thin = thinned(before);
  const Statistics keys = statistics_of(before, chosen, 1), preserve = statistics_of(before, chosen, 2);
  // Inputs that no model was given, to multiply by themselves.
  Statistics held_out;
  std::map<std::string, Tensor> inputs;
  for (const auto& [name, site] : keys.sites) {
    inputs[name] = keys_of(site.gram.size(0), 40, 3);
    held_out.sites[name] = {gram_of(inputs[name]), 40};
  }
  const Json params = {{"rank", 6}, {"alpha", 1.0}, {"epsilon", 0.05}};
  const Value value = compensate(thin, before, keys, params, preserve, held_out);
  const Model mended = Model::from_field(value.at("model"));
  for (std::size_t row = 0; row < table_from(value.at("report")).rows(); ++row) {
    const std::string site = cell(value, "site", row);
    const Tensor change = effective_weight(mended.weight(site)) - effective_weight(thin.weight(site));
    CHECK(cell(value, "held_out_drift", row).get<double>() ==
          Approx(at::matmul(change, inputs[site]).norm().item<double>()).epsilon(1e-9));
  }
  // Text of the preserved kind, which the null space was not made from.
  const Statistics others = statistics_of(before, chosen, 3);
  const auto moved = [&](const Value& result) {
    double sum = 0;
    const Table report = table_from(result.at("report"));
    for (const Json& each : report.column("held_out_drift").cells) sum += each.get<double>();
    return sum;
  };
  CHECK(moved(compensate(thin, before, keys, params, preserve, others)) <
        0.5 * moved(compensate(thin, before, keys, params, {}, others)));
  CHECK(cell(compensate(thin, before, keys, params, preserve), "held_out_drift").is_null());
}

TEST_CASE("where nothing was lost it is the identity, byte for byte, and says so") {
  const Model model = mamba("f32");
  const Value value = compensate(model, model, statistics_of(model, chosen), {{"rank", 4}});
  CHECK(scalar_from(value.at("identity")).value == 1);
  CHECK(scalar_from(value.at("restored")).value == 0);
  CHECK(cell(value, "note") == "nothing to restore");
  CHECK(value.at("model").content_hash() == model.to_field().content_hash());
}

TEST_CASE("a base and difference, adapters and all-zero weights are met") {
  load_plugin("lora");
  Model before = mamba().mutable_copy();
  for (const std::string& site : selected_names(select_sites(before, chosen))) {
    SiteWeight& weight = before.writable(site);
    set_reference(weight, weight.sparse * 0.9);
  }
  Model thin = small::run_model("lora/lora", {{"rank", 1}, {"sites", "*.in_proj"}}, thinned(before)).mutable_copy();
  small::randomise_adapters(thin, 4, 0.05, 0);
  thin.writable("backbone.layers.0.mixer.out_proj").sparse.zero_();
  const Statistics keys = statistics_of(before, chosen);
  const Value value = compensate(thin, before, keys, {{"rank", 8}, {"alpha", 1.0}});
  const Model mended = Model::from_field(value.at("model"));
  CHECK(mended.adapters().empty());
  for (const auto& [name, site] : keys.sites) {
    CHECK(at::equal(mended.weight(name).reference, before.weight(name).reference));
    CHECK(!at::logical_and(mended.weight(name).sparse != 0, mended.weight(name).mask.logical_not()).any().item<bool>());
  }
  CHECK(scalar_from(value.at("restored")).value > 0);
}

TEST_CASE("a model whose variables were put in another order since is refused") {
  Model before = mamba().mutable_copy();
  for (const std::string& site : selected_names(select_sites(before, chosen))) {
    SiteWeight& weight = before.writable(site);
    set_reference(weight, weight.sparse * 0.9);
  }
  const Statistics keys = statistics_of(before, chosen);
  Model ordered = thinned(before);
  CHECK_NOTHROW(compensate(ordered, before, keys, Json::object()));
  const auto symmetries = ordered.symmetries();
  const auto channels = std::find_if(symmetries.begin(), symmetries.end(),
                                     [](const Symmetry& symmetry) { return symmetry.axis == "channels"; });
  REQUIRE(channels != symmetries.end());
  permute(ordered, *channels, at::arange(channels->size).flip(0));
  CHECK_THAT(small::error_of([&] { compensate(ordered, before, keys, Json::object()); }),
             Contains("variables in another order than before"));
}

TEST_CASE("mistakes are told by site") {
  const Model before = mamba(), thin = thinned(before);
  const Statistics keys = statistics_of(before, "*.in_proj");
  // What the first layer is given has the rank of the vocabulary.
  const Statistics full = statistics_of(before, "layer:1&role:in_proj");
  CHECK_THAT(small::error_of([&] {
               compensate(thin, before, keys, {{"sites", chosen}});
             }),
             Contains("the statistics have nothing of site"));
  CHECK_THAT(small::error_of([&] {
               compensate(thin, before, full, {{"epsilon", 1e-12}}, full);
             }),
             Contains("leaves no null space at epsilon = 1e-12") && Contains("largest"));
  CHECK_THAT(small::error_of([&] { compensate(thin, small::make(), keys, Json::object()); }), Contains("no site"));
}

}  // namespace colonnade::alphaedit
