// A training that was killed after any step ends in the same bits as one that was not.
#include <catch2/catch.hpp>
#include <set>

#include "tests/plugins/train/train_support.h"

namespace colonnade {

namespace {

using training::hash_of;
using training::train;
using training::Trained;

void check_resumed(const Model& model, const Json& params, const training::Texts& texts = {}) {
  const Trained whole = train(model, params, texts);
  REQUIRE(whole.checkpoints.size() == params.at("steps").get<std::size_t>());
  std::set<std::string> states;
  for (const Value& checkpoint : whole.checkpoints) states.insert(checkpoint.at("model").content_hash().hex());
  // Checkpoints are of their moment: nothing that came later shows in them.
  CHECK(states.size() == whole.checkpoints.size());
  for (std::size_t step = 0; step < whole.checkpoints.size(); ++step) {
    INFO("killed after step " << step + 1);
    const Trained resumed = train(model, params, texts, 0, whole.checkpoints[step]);
    CHECK(resumed.checkpoints.size() == whole.checkpoints.size() - step - 1);
    CHECK(hash_of(resumed.value) == hash_of(whole.value));
    if (resumed.checkpoints.empty()) continue;
    CHECK(hash_of(resumed.checkpoints.back()) == hash_of(whole.checkpoints.back()));
  }
}

// Random ids of a byte vocabulary.
Tokens bytes(std::int64_t count) {
  std::vector<std::uint8_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::uint8_t>(RandomStream(4).below(static_cast<std::uint64_t>(i), 9)));
  Tokens tokens;
  tokens.ids = Blob::of(DType::u8, ids);
  return tokens;
}

Model mamba() {
  load_plugin("mamba");
  const Value value =
      small::run("mamba/mamba", {{"d_model", 8}, {"layers", 2}, {"d_state", 4}, {"vocabulary", 16}}, {});
  return Model::from_field(value.at("model"));
}

Model with_masks_and_adapters(const Model& base) {
  load_plugin("mask");
  load_plugin("lora");
  const Model model = small::run_model("lora/lora", {{"rank", 2}, {"dropout", 0.3}, {"freeze", false}}, base);
  return small::run_model("mask/mask", {{"sites", "kind:linear,kind:conv1d"}, {"granularity", "block"}}, model);
}

}  // namespace

TEST_CASE("a plain training goes on after any step, accumulating, with evaluations in between") {
  check_resumed(
      small::make("f32"),
      {{"steps", 6}, {"accumulation", 2}, {"evaluate_every", 2}, {"log_every", 1}, {"clip", 0.5}, {"rescue", 1e-3}},
      {small::text(400), small::text(100, 2)});
}

TEST_CASE("early stopping counts on across a kill") {
  const Json params = {{"steps", 60}, {"learning_rate", 0.3}, {"evaluate_every", 1}, {"early_stop", 4}};
  const training::Texts texts{training::cycle(60), small::text(300, 9)};
  const Trained whole = train(training::bigram(), params, texts);
  REQUIRE(whole.summary().at("stopped_early") == true);
  for (std::size_t back = 1; back <= 4; ++back) {
    const Value& checkpoint = whole.checkpoints[whole.checkpoints.size() - back];
    CHECK(hash_of(train(training::bigram(), params, texts, 0, checkpoint).value) == hash_of(whole.value));
  }
}

TEST_CASE("learned masks, their budget and random adapters go on after any step") {
  const Model model = with_masks_and_adapters(small::make("f32"));
  const Json params = {{"steps", 6}, {"learning_rate", 1e-2}, {"log_every", 1}};
  check_resumed(model, params);
  const Table curve = train(model, params).curve();
  CHECK(curve.has_column("soft_sparsity"));
  CHECK(curve.column("reg").cells.back().get<double>() > 0);
}

TEST_CASE("layers that are computed again train to the same bits, under learned masks and dropout too") {
  for (const bool adapted : {false, true}) {
    const Model model = adapted ? with_masks_and_adapters(mamba()) : mamba();
    const Json params = {{"steps", 4}, {"accumulation", 2}, {"length", 24}, {"clip", 0.5}};
    Json again = params;
    again["recompute"] = true;
    const Trained kept = train(model, params, {bytes(300), {}}), computed = train(model, again, {bytes(300), {}});
    CHECK(hash_of(kept.value) == hash_of(computed.value));
  }
}

TEST_CASE("two trainings of 200 steps end in the same bits") {
  const Json params = {{"steps", 200}, {"length", 16}};
  const Trained one = train(mamba(), params, {bytes(400), {}}), two = train(mamba(), params, {bytes(400), {}});
  CHECK(one.summary().at("steps") == 200);
  CHECK(one.value.at("model").content_hash() == two.value.at("model").content_hash());
}

TEST_CASE("a training whose variables are reordered on the way goes on after any step") {
  load_plugin("scan");
  load_plugin("mask");
  load_plugin("lora");
  Model model = mamba().mutable_copy();
  SiteWeight& masked = model.writable("backbone.layers.0.mixer.in_proj");
  apply_mask(masked, random_uniform(RandomStream(8), masked.sparse.sizes()) < 0.5);
  const Tokens text = bytes(600);
  const Value ordered = small::run("scan/scan", {{"update_every", 2}, {"tokens", 64}, {"length", 16}},
                                   {{"model", model.to_field()}, {"data", to_field(text)}});
  model = Model::from_field(ordered.at("model"));
  model = small::run_model("mask/mask", Json::object(), model);
  model = small::run_model("lora/lora", {{"rank", 2}, {"freeze", false}}, model);
  const Json params = {{"steps", 6}, {"length", 16}, {"learning_rate", 1e-2}, {"log_every", 1}};
  check_resumed(model, params, {text, {}});
  CHECK(train(model, params, {text, {}}).curve().column("scan_updates").cells == Json({0.0, 1.0, 1.0, 2.0, 2.0, 3.0}));
}

TEST_CASE("reordering on the way changes nothing but the order, optimizer state included") {
  load_plugin("scan");
  const Tokens text = bytes(600);
  const Json params = {{"steps", 6}, {"length", 16}, {"learning_rate", 1e-3}, {"log_every", 1}};
  const auto trained = [&](bool updating) {
    Json scan = {{"tokens", 64}, {"length", 16}};
    if (updating) scan["update_every"] = 2;
    const Value ordered = small::run("scan/scan", scan, {{"model", mamba().to_field()}, {"data", to_field(text)}});
    return train(Model::from_field(ordered.at("model")), params, {text, {}});
  };
  const Json still = trained(false).curve().column("loss").cells, moved = trained(true).curve().column("loss").cells;
  REQUIRE(still.size() == 6);
  for (std::size_t row = 0; row < still.size(); ++row) {
    CHECK(moved[row].get<double>() == Approx(still[row].get<double>()).epsilon(1e-5));
  }
}

}  // namespace colonnade
