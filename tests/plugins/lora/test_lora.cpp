#include "plugins/lora/lora.h"

#include <catch2/catch.hpp>

#include "tests/support/finite_differences.h"
#include "tests/support/peft_oracle.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

Model with_lora(const Json& params = Json::object(), const Model& model = small::make()) {
  register_linked_plugin(colonnade_plugin);
  return small::run_model("lora/lora", params, model).mutable_copy();
}

StepInfo training(std::uint64_t step = 0) {
  return {true, 0, 1, RandomStream(9).at(step)};
}

SiteSpec matrix(std::int64_t rows, std::int64_t columns) {
  SiteSpec site;
  site.name = "matrix";
  site.tensor_name = "matrix.weight";
  site.shape = {rows, columns};
  return site;
}

}  // namespace

TEST_CASE("a fresh adapter changes nothing and starts as published") {
  register_linked_plugin(colonnade_plugin);
  const Model plain = small::make();
  const Model model = with_lora({{"rank", 4}}, plain);
  CHECK(at::equal(model.forward(small::batch()), plain.forward(small::batch())));
  const auto adapter = make_lora(matrix(30, 400), {.rank = 50}, at::kDouble, RandomStream(1));
  Tensor a = adapter->tensors().at("A").tensor;
  CHECK(a.sizes() == at::IntArrayRef({50, 400}));
  // Uniform in ±1/sqrt(400): variance bound²/3.
  CHECK(a.abs().max().item<double>() < 0.05);
  CHECK(std::abs(a.mean().item<double>()) < 5 * 0.05 / std::sqrt(3.0 * 20000));
  CHECK(a.var().item<double>() == Approx(0.0025 / 3).epsilon(0.05));
  CHECK(at::count_nonzero(adapter->tensors().at("B").tensor).item<std::int64_t>() == 0);
}

TEST_CASE("forward and merged weight agree with peft's on a linear layer") {
  for (const bool stabilised : {false, true}) {
    const Json oracle = peft_oracle(stabilised ? "lora_rank_stabilised" : "lora");
    Tensor weight = tensor_of(oracle.at("weight")), bias = tensor_of(oracle.at("bias")), x = tensor_of(oracle.at("x"));
    const SiteSpec site = matrix(weight.size(0), weight.size(1));
    const auto adapter = make_lora(site, {3, 7, 0, stabilised}, at::kDouble, RandomStream(1));
    adapter->bind(site);
    adapter->tensors().at("A").tensor = tensor_of(oracle.at("adapter").at("lora_A"));
    adapter->tensors().at("B").tensor = tensor_of(oracle.at("adapter").at("lora_B"));
    Tensor y = at::linear(x, weight, bias) + adapter->branch(x, {});
    CHECK(small::relative_error(y, tensor_of(oracle.at("output"))) < 1e-12);
    CHECK(small::relative_error(weight + adapter->update({}), tensor_of(oracle.at("merged_weight"))) < 1e-12);
  }
}

TEST_CASE("branches, updates and folded weights are one function on every kind of site") {
  for (const char* sites : {"kind:linear", "kind:conv1d", "embedding", "kind:linear,kind:conv1d,embedding"}) {
    Model model = with_lora({{"sites", sites}, {"rank", 2}, {"rank_stabilised", true}});
    const Tensor before = model.forward(small::batch());
    small::randomise_adapters(model, 3);
    const Tensor tuned = model.forward(small::batch());
    CHECK(small::relative_error(tuned, before) > 1e-3);
    Model folded = model.mutable_copy();
    fold_adapters(folded, selected_names(select_sites(model, sites)));
    CHECK(folded.adapters().empty());
    CHECK(small::relative_error(folded.forward(small::batch()), tuned) < 1e-12);
  }
}

TEST_CASE("gradients reach A and B on every kind of site, with dropout too") {
  Model model =
      with_lora({{"sites", "kind:linear,kind:conv1d,embedding"}, {"rank", 2}, {"dropout", 0.4}, {"freeze", false}});
  small::randomise_adapters(model, 3);
  const Batch batch = small::batch();
  check_gradients(model, [&](const Model& at) { return at.loss(batch, training()); });
}

TEST_CASE("dropout drops its share of the branch's inputs, the same at every call of a step") {
  const SiteSpec site = matrix(3, 50);
  const auto adapter = make_lora(site, {.rank = 2, .dropout = 0.3}, at::kDouble, RandomStream(1));
  adapter->bind(site);
  Tensor x = at::ones({400, 50}, at::kDouble);
  Tensor seen = adapter->branch_input(x, training());
  CHECK(at::logical_or(seen == 0, (seen - 1 / 0.7).abs() < 1e-12).all().item<bool>());
  const double dropped = (seen == 0).to(at::kDouble).mean().item<double>();
  CHECK(std::abs(dropped - 0.3) < 5 * std::sqrt(0.3 * 0.7 / 20000));
  CHECK(at::equal(adapter->branch_input(x, training()), seen));
  CHECK(!at::equal(adapter->branch_input(x, training(1)), seen));
  CHECK(at::equal(adapter->branch_input(x, {}), x));
}

TEST_CASE("freezing leaves nothing trainable but adapters") {
  Model model = with_lora({{"rank", 2}, {"sites", "*.x_proj"}});
  const auto parameters = model.parameters();
  REQUIRE(parameters.size() == 4);
  for (const Parameter& parameter : parameters) CHECK_THAT(parameter.name, Contains(":adapters.0."));
  const std::int64_t each = 2 * (small::channels + small::step_rank + 2 * small::states);
  CHECK(model.counts().trainable == 2 * each);
  Model open = with_lora({{"rank", 2}, {"freeze", false}});
  CHECK(open.counts().trainable == open.counts().all);
}

TEST_CASE("the default sites are the linears and convolutions that there are") {
  const Model model = with_lora();
  CHECK(model.adapters().size() == 8);
}

TEST_CASE("numbers depend on the seed and the site, not on what else is adapted") {
  register_linked_plugin(colonnade_plugin);
  const auto a_of = [](const Model& model, const std::string& site) {
    return model.adapters_of(site).front()->adapter->tensors().at("A").tensor;
  };
  const Model all = with_lora(), one = with_lora({{"sites", "layers.1.x_proj"}});
  CHECK(at::equal(a_of(all, "layers.1.x_proj"), a_of(one, "layers.1.x_proj")));
  CHECK(!at::equal(a_of(all, "layers.0.x_proj"), a_of(all, "layers.1.x_proj")));
  const Model other = small::run_model("lora/lora", Json::object(), small::make(), 1);
  CHECK(!at::equal(a_of(all, "layers.1.x_proj"), a_of(other, "layers.1.x_proj")));
}

TEST_CASE("stored adapters come back bit for bit; misfits are refused") {
  Model model = with_lora({{"rank", 3}, {"alpha", 5.5}, {"dropout", 0.1}, {"sites", "layers.0.in_proj"}});
  small::randomise_adapters(model, 3);
  const Field field = model.to_field();
  CHECK(Model::from_field(field).to_field().content_hash() == field.content_hash());
  CHECK(field.carries.contains("lora"));
  Field bad = field;
  bad.tensors["adapters/0/A"] = to_blob(at::zeros({3, 5}, at::kDouble));
  CHECK_THAT(small::error_of([&] { Model::from_field(bad); }),
             Contains("with A [3,5] and B [16,3] does not fit site 'layers.0.in_proj' [16,6]"));
  bad = field;
  bad.tensors["adapters/0/B"] = to_blob(at::zeros({16, 2}, at::kDouble));
  CHECK_THAT(small::error_of([&] { Model::from_field(bad); }), Contains("of rank 3 with A [3,6] and B [16,2]"));
  bad.tensors.erase("adapters/0/B");
  CHECK_THAT(small::error_of([&] { Model::from_field(bad); }), Contains("lacks its tensor 'B'"));
}

TEST_CASE("vectors have no low-rank update") {
  CHECK_THAT(small::error_of([] {
               with_lora({{"sites", "*norm*"}});
             }),
             Contains("site 'layers.0.norm' is a vector, which has no low-rank update; narrow `sites`"));
}

}  // namespace colonnade
