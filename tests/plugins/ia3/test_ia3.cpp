#include "plugins/ia3/ia3.h"

#include <catch2/catch.hpp>

#include "tests/support/finite_differences.h"
#include "tests/support/peft_oracle.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

Model with_ia3(const Json& params = Json::object(), const Model& model = small::make()) {
  register_linked_plugin(colonnade_plugin);
  return small::run_model("ia3/ia3", params, model).mutable_copy();
}

}  // namespace

TEST_CASE("fresh scales change nothing; where they act follows the site") {
  const Model plain = small::make();
  const Model model = with_ia3(Json::object(), plain);
  CHECK(at::equal(model.forward(small::batch()), plain.forward(small::batch())));
  CHECK(model.adapters().size() == 2 * 5 + 1);
  const Adapter& down = *model.adapters_of("layers.0.out_proj").front()->adapter;
  CHECK(down.scale_input({}).numel() == small::channels);
  CHECK(!down.scale_output({}).defined());
  const Adapter& up = *model.adapters_of("layers.0.in_proj").front()->adapter;
  CHECK(up.scale_output({}).numel() == 2 * small::channels);
  CHECK(!up.scale_input({}).defined());
}

TEST_CASE("forward and merged weights agree with peft's on a linear layer") {
  for (const bool down : {false, true}) {
    const Json oracle = peft_oracle(down ? "ia3_feed_forward" : "ia3");
    Tensor l = tensor_of(oracle.at("adapter").at("ia3_l")).reshape({-1});
    Tensor bias = tensor_of(oracle.at("bias")), x = tensor_of(oracle.at("x"));
    SiteWeight weight;
    weight.sparse = tensor_of(oracle.at("weight"));
    SiteSpec site;
    site.name = "matrix";
    site.shape = weight.sparse.sizes().vec();
    site.feed_forward_down = down;
    const auto adapter = make_ia3(site, at::kDouble);
    adapter->bind(site);
    adapter->tensors().at("l").tensor = l;
    const Tensor before = adapter->scale_input({}), after = adapter->scale_output({});
    CHECK(before.defined() == down);
    CHECK(after.defined() == !down);
    Tensor y = at::linear(down ? x * before : x, weight.sparse, bias);
    if (!down) y = y * after;
    CHECK(small::relative_error(y, tensor_of(oracle.at("output"))) < 1e-12);
    if (down) {
      scale_columns(weight, l);
    } else {
      scale_rows(weight, l);
    }
    CHECK(small::relative_error(weight.sparse, tensor_of(oracle.at("merged_weight"))) < 1e-12);
    CHECK(small::relative_error(down ? bias : bias * l, tensor_of(oracle.at("merged_bias"))) < 1e-12);
  }
}

TEST_CASE("the whole model computes what scaled layers compute") {
  Model model = with_ia3({{"sites", "layers.0.in_proj,layers.0.conv1d,layers.1.out_proj,norm_f"}});
  small::randomise_adapters(model, 3);
  Model by_hand = small::make().mutable_copy();
  const auto l_of = [&](const std::string& site) {
    return model.adapters_of(site).front()->adapter->tensors().at("l").tensor;
  };
  const auto scale = [&](const std::string& site, const Tensor& factors) {
    Tensor& weight = by_hand.writable(site).sparse;
    weight = weight * factors;
  };
  scale("layers.0.in_proj", l_of("layers.0.in_proj").reshape({-1, 1}));
  scale("layers.0.in_proj.bias", l_of("layers.0.in_proj"));
  scale("layers.0.conv1d", l_of("layers.0.conv1d").reshape({-1, 1, 1}));
  scale("layers.0.conv1d.bias", l_of("layers.0.conv1d"));
  scale("layers.1.out_proj", l_of("layers.1.out_proj").reshape({1, -1}));
  scale("norm_f", l_of("norm_f"));
  const Tensor expected = by_hand.forward(small::batch());
  CHECK(small::relative_error(model.forward(small::batch()), expected) < 1e-12);
  Model folded = model.mutable_copy();
  fold_adapters(folded, {"layers.0.in_proj", "layers.0.conv1d", "layers.1.out_proj", "norm_f"});
  CHECK(folded.adapters().empty());
  CHECK(small::relative_error(folded.forward(small::batch()), expected) < 1e-12);
}

TEST_CASE("gradients reach every scale") {
  Model model = with_ia3({{"freeze", false}});
  small::randomise_adapters(model, 3);
  const Batch batch = small::batch();
  check_gradients(model, [&](const Model& at) { return at.loss(batch, {true, 0, 1, RandomStream(1)}); });
}

TEST_CASE("only the scales are trainable") {
  Model model = with_ia3({{"sites", "*.x_proj,*.out_proj"}});
  CHECK(model.parameters().size() == 4);
  CHECK(model.counts().trainable == 2 * (small::step_rank + 2 * small::states + small::channels));
}

TEST_CASE("sites without an output to scale are refused by name") {
  CHECK_THAT(small::error_of([] {
               with_ia3({{"sites", "embedding"}});
             }),
             Contains("ia3: site 'embedding' is an embedding, which scales do not act on; narrow `sites`"));
  CHECK_THAT(small::error_of([] {
               with_ia3({{"sites", "*.decay"}});
             }),
             Contains("ia3: site 'layers.0.decay' is a parameter of the recurrence"));
}

TEST_CASE("stored scales come back bit for bit; misfits are refused") {
  Model model = with_ia3({{"sites", "layers.0.out_proj"}});
  small::randomise_adapters(model, 3);
  const Field field = model.to_field();
  CHECK(Model::from_field(field).to_field().content_hash() == field.content_hash());
  Field bad = field;
  bad.tensors["adapters/0/l"] = to_blob(at::zeros({3}, at::kDouble));
  CHECK_THAT(small::error_of([&] { Model::from_field(bad); }),
             Contains("the IA3 adapter of 3 scales does not fit site 'layers.0.out_proj', which needs 8"));
  bad.tensors.erase("adapters/0/l");
  CHECK_THAT(small::error_of([&] { Model::from_field(bad); }), Contains("lacks its tensor 'l'"));
}

}  // namespace colonnade
