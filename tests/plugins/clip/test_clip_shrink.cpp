// Taking idle hidden units out: the same function from smaller weights.
#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "colonnade/registry.h"
#include "colonnade/run_op.h"
#include "model_support.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" {
extern const colonnade::PluginDescriptor colonnade_plugin;
}

namespace colonnade::clip {
namespace {

using Catch::Matchers::Contains;

Value shrunk(const Model& model) {
  register_linked_plugin(colonnade_plugin);
  return small::run("clip/shrink", Json::object(), {{"model", model.to_field()}});
}

/// Zero in all of W where `idle` says so: a unit's row and bias, or its column, by turns.
void empty_units(Model& model, const std::string& mlp, const std::vector<std::int64_t>& idle) {
  bool row = true;
  for (const std::int64_t unit : idle) {
    for (const char* name : {"fc1", "fc1.bias", "fc2"}) {
      if (row == (std::string(name) == "fc2")) continue;
      SiteWeight& weight = model.writable(mlp + name);
      const auto clear = [&](Tensor& tensor, int axis) {
        if (tensor.defined()) tensor.select(axis, unit).zero_();
      };
      clear(weight.sparse, row ? 0 : 1);
      clear(weight.reference, row ? 0 : 1);
      clear(row ? weight.u : weight.v, 0);
    }
    row = !row;
  }
}

}  // namespace

TEST_CASE("a model without its idle units computes the same from fewer numbers, whatever its weights are made of") {
  const Configuration c = small_configuration();
  for (const bool parts : {false, true}) {
    Model model = random_model(c, 3, parts).mutable_copy();
    for (const SiteSpec& site : model.sites()) {
      SiteWeight& weight = model.writable(site.name);
      if (weight.has_reference()) weight.reference = weight.reference.clone();
    }
    empty_units(model, "vision_model.encoder.layers.0.mlp.", {0, 3, 4, 6});
    empty_units(model, "vision_model.encoder.layers.1.mlp.", {1, 2});
    const Value value = shrunk(model);
    const Model small = Model::from_field(value.at("model"));
    const Configuration narrow = configuration_from(small.configuration());
    // The second layer has the most busy units; no unit of the other tower is idle.
    CHECK(narrow.vision.hidden == c.vision.hidden - 2);
    CHECK(narrow.text.hidden == c.text.hidden);
    const Batch batch = random_batch(c, 4, 6);
    CHECK(relative_error(small.forward(batch), model.forward(batch)) < 1e-13);
    CHECK(small.weight("vision_model.encoder.layers.0.mlp.fc2").sparse.size(1) == narrow.vision.hidden);
    CHECK(small.weight("vision_model.encoder.layers.0.mlp.fc1").has_reference() == parts);
    CHECK(small.counts().all < model.counts().all);
    CHECK(scalar_from(value.at("removed")).value == Approx(4.0 / (2 * 5 + 2 * 7)));
    CHECK(table_from(value.at("report")).column("busy").cells.back() == 5);
    // Nothing is idle a second time that was kept for another layer's sake alone.
    CHECK(scalar_from(shrunk(small).at("removed")).value == 0);
  }
}

TEST_CASE("structured drops of whole weights shrink a model by as many units") {
  load_plugin("dare");
  Configuration c = small_configuration();
  c.vision.hidden = c.text.hidden = 10;
  const Model model = random_model(c, 4);
  register_linked_plugin(colonnade_plugin);
  const Json params = {{"of", "weights"},  {"strategy", "structured"}, {"structure", "hidden"},
                       {"drop_rate", 0.4}, {"exact_count", true},      {"rescale", "none"}};
  const Model thin = Model::from_field(small::run("dare/dare", params, {{"model", model.to_field()}}).at("model"));
  const Value value = shrunk(thin);
  CHECK(scalar_from(value.at("removed")).value == Approx(0.4));
  const Batch batch = random_batch(c, 4, 6);
  CHECK(relative_error(Model::from_field(value.at("model")).forward(batch), thin.forward(batch)) < 1e-13);
}

TEST_CASE("a model that is empty keeps a unit, and other families are refused") {
  const Configuration c = small_configuration();
  Model model(std::make_shared<const Clip>(), to_json(c));
  const Model small = Model::from_field(shrunk(model).at("model"));
  CHECK(configuration_from(small.configuration()).text.hidden == 1);
  CHECK_THAT(small::error_of([] { shrunk(small::make()); }), Contains("no CLIP model"));
}

}  // namespace colonnade::clip
