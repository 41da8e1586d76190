#include <ATen/core/grad_mode.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "plugins/mask/mask.h"
#include "tests/support/plugins.h"
#include "tests/support/small_clip.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

void register_all() {
  register_linked_plugin(colonnade_plugin);
}

Model masked(const std::string& sites = "kind:linear,kind:conv1d", Json params = Json::object()) {
  register_all();
  params["sites"] = sites;
  Model model = small::run_model("mask/mask", params, small::make()).mutable_copy();
  small::randomise_adapters(model, 4);
  decide(masks_of(model), ThresholdRule::budget, 0.5);
  return model;
}

Value run(const std::string& op, const Json& params, const Model& model, bool with_data, std::uint64_t seed = 0) {
  small::Inputs inputs = {{"model", model.to_field()}};
  if (with_data) inputs.emplace_back("data", to_field(small::text(500)));
  return small::run(op, params, inputs, seed);
}

const Json& cells(const Value& value, const std::string& field, const std::string& column) {
  static std::map<std::string, Table> tables;
  const Table& table = tables[field] = table_from(value.at(field));
  return table.column(column).cells;
}

double scalar(const Value& value, const std::string& name) {
  return scalar_from(value.at(name)).value;
}

double zeros(const Tensor& tensor) {
  return (tensor == 0).sum().item<double>();
}

}  // namespace

TEST_CASE("a model of pictures and texts is masked on its linear sites, its examples are what is looked at") {
  register_all();
  const Model model = small::clip();
  const Field pairs = to_field(small::pairs(1));
  const auto on_pairs = [&](const std::string& op, const Model& subject, Json params) {
    return small::run(op, std::move(params), {{"model", subject.to_field()}, {"data", pairs}});
  };
  const Model learned = small::run_model("mask/mask", {{"target_sparsity", 0.3}}, model);
  CHECK(masks_of(learned).size() == select_sites(model, "kind:linear").size());
  const Value hard = on_pairs("mask/harden", learned, {{"samples", 10}});
  CHECK(scalar_from(hard.at("gap")).n == 10);
  CHECK(std::isfinite(scalar(hard, "gap")));
  // Wanda by its definition, on a site that is given every patch of every picture.
  const std::string site = "vision_model.encoder.layers.0.mlp.fc1";
  const Value pruned = on_pairs("mask/fixed", model, {{"method", "wanda"}, {"sparsity", 0.5}, {"sites", site}});
  struct Inputs final : Observer {
    std::string name;
    Tensor squares;
    bool wants_site(const SiteSpec& spec) const override { return spec.name == name; }
    void on_site(const SiteSpec&, const Tensor& in, const Tensor&) override {
      squares = in.to(at::kDouble).reshape({-1, in.size(-1)}).square().sum(0);
    }
  } inputs;
  inputs.name = site;
  std::vector<std::int64_t> all(16);
  std::iota(all.begin(), all.end(), 0);
  at::NoGradGuard guard;
  model.forward(small::pairs(1).batch(all), {}, &inputs);
  const Tensor scores = model.weight(site).sparse.to(at::kDouble).abs() * inputs.squares.sqrt();
  const Tensor order = scores.argsort(1, true), mask = Model::from_field(pruned.at("model")).weight(site).mask;
  CHECK(mask.gather(1, order.narrow(1, 0, 8)).all().item<bool>());
  CHECK_FALSE(mask.gather(1, order.narrow(1, 8, 8)).any().item<bool>());
}

TEST_CASE("fresh masks lie on the default sites and evaluation keeps the budget at once") {
  register_all();
  const Model model = small::run_model("mask/mask", {{"target_sparsity", 0.3}}, small::make());
  const auto masks = masks_of(model);
  REQUIRE(masks.size() == 4);
  CHECK(masks.front()->site().name == "layers.0.conv1d");
  CHECK(masks[1]->site().name == "layers.0.x_proj");
  CHECK(masks[1]->active_elements().sum().item<double>() == 2 * small::states * small::channels);
  Tensor logits = masks.front()->logits();
  CHECK(logits.mean().item<double>() == Approx(1).margin(0.01));
  CHECK(logits.std().item<double>() == Approx(0.01).epsilon(0.5));
  CHECK(std::abs(hard_sparsity(masks) - 0.3) < 0.01);
  // The same numbers for every arm of a seed, others for another seed.
  const Model same = small::run_model("mask/mask", {{"target_sparsity", 0.7}}, small::make());
  CHECK(at::equal(masks_of(same).front()->logits(), logits));
  const Model other = small::run_model("mask/mask", {{"target_sparsity", 0.3}}, small::make(), 1);
  CHECK(!at::equal(masks_of(other).front()->logits(), logits));
}

TEST_CASE("a second mask before hardening is refused") {
  const Model model = masked("*.conv1d");
  CHECK_THAT(small::error_of([&] {
               run("mask/mask", {{"sites", "*.in_proj"}}, model, false);
             }),
             Contains("has a learned mask already, at site 'layers.0.conv1d'; fold it with `harden`"));
}

TEST_CASE("hardening keeps what evaluation computes and leaves nothing learned behind") {
  for (const char* granularity : {"element", "row", "column", "block"}) {
    const Model model = masked("kind:linear,kind:conv1d,embedding", {{"granularity", granularity}, {"block_rows", 3}});
    const Value value = run("mask/harden", Json::object(), model, false);
    const Model hard = Model::from_field(value.at("model"));
    CHECK(hard.adapters().empty());
    CHECK(hard.hooks().empty());
    CHECK(small::relative_error(hard.forward(small::batch()), model.forward(small::batch())) < 1e-12);
    double dropped = 0, elements = 0;
    for (MaskAdapter* mask : masks_of(model)) {
      const SiteWeight& weight = hard.weight(mask->site().name);
      REQUIRE(weight.has_mask());
      CHECK(at::equal(weight.sparse != 0, weight.mask));
      dropped += zeros(weight.sparse);
      elements += static_cast<double>(weight.sparse.numel());
    }
    CHECK(scalar(value, "sparsity") == Approx(dropped / elements));
    CHECK(std::isnan(scalar(value, "gap")));
    CHECK(cells(value, "report", "cosine_loss")[0].is_null());
  }
}

TEST_CASE("a second mask counts in what the first one dropped") {
  register_all();
  const Json sites = {{"sites", "*.in_proj,*.x_proj#B"}, {"sparsity", 0.4}};
  const Model first = Model::from_field(run("mask/fixed", sites, small::make(), false).at("model"));
  for (const double target : {0.2, 0.4, 0.7}) {
    const Json params = {{"sites", "*.in_proj,*.x_proj#B"}, {"target_sparsity", target}};
    const Model twice = small::run_model("mask/mask", params, first);
    const Value value = run("mask/harden", Json::object(), twice, false);
    const Model hard = Model::from_field(value.at("model"));
    double dropped = 0, elements = 0;
    for (MaskAdapter* mask : masks_of(twice)) {
      Tensor kept = hard.weight(mask->site().name).mask;
      dropped += at::logical_and(mask->active_elements(), kept.logical_not()).sum().item<double>();
      elements += mask->active_elements().sum().item<double>();
    }
    CHECK(dropped / elements == Approx(std::max(target, 0.4)).margin(0.01));
    CHECK(scalar(value, "sparsity") == Approx(dropped / elements));
    if (target >= 0.4) CHECK(soft_sparsity(masks_of(twice)) > 0.4);
  }
}

TEST_CASE("a mask on named parts leaves the other rows alone") {
  const Model model = masked("*.x_proj#B");
  const Model hard = Model::from_field(run("mask/harden", Json::object(), model, false).at("model"));
  const Tensor sparse = hard.weight("layers.0.x_proj").sparse;
  const Tensor dense = model.weight("layers.0.x_proj").sparse;
  CHECK(zeros(sparse) > 0);
  CHECK(zeros(sparse) == zeros(sparse.narrow(0, small::step_rank, small::states)));
  CHECK(at::equal(sparse.narrow(0, 0, small::step_rank), dense.narrow(0, 0, small::step_rank)));
}

TEST_CASE("hardening measures cosine losses and the gap between evaluation and training") {
  const Model model = masked("layers.1.x_proj#C");
  const Value value = run("mask/harden", {{"tokens", 60}, {"length", 10}}, model, true);
  // The only masked site is in the last layer, so its inputs are the dense model's: 1 - cos over tokens, by a loop.
  struct Watch final : Observer {
    Tensor input;
    bool wants_site(const SiteSpec& site) const override { return site.name == "layers.1.x_proj"; }
    void on_site(const SiteSpec&, const Tensor& in, const Tensor&) override {
      input = in.reshape({-1, small::channels}).clone();
    }
  } watch;
  const Tokens text = small::text(500);
  Tensor all = to_tensor(text.ids).to(at::kLong);
  std::vector<Tensor> windows;
  for (std::int64_t i = 0; i < 6; ++i) windows.push_back(all.narrow(0, i * 49 / 6 * 10, 10));
  Batch batch;
  batch.tensors["ids"] = at::stack(windows);
  const Model hard = Model::from_field(value.at("model"));
  hard.forward(batch, {}, &watch);
  const std::int64_t first = small::step_rank + small::states;
  Tensor dense = at::matmul(watch.input, model.weight("layers.1.x_proj").sparse.narrow(0, first, small::states).t());
  Tensor kept = at::matmul(watch.input, hard.weight("layers.1.x_proj").sparse.narrow(0, first, small::states).t());
  double expected = 0;
  for (std::int64_t token = 0; token < dense.size(0); ++token) {
    const double norms = dense[token].norm().item<double>() * kept[token].norm().item<double>();
    expected += 1 - (norms > 0 ? (dense[token] * kept[token]).sum().item<double>() / norms : 0);
  }
  CHECK(cells(value, "report", "cosine_loss")[0].get<double>() ==
        Approx(expected / static_cast<double>(dense.size(0))));
  const Scalar gap = scalar_from(value.at("gap"));
  CHECK(std::isfinite(gap.value));
  CHECK(gap.value != 0);
  CHECK(gap.n == 60);
  CHECK(run("mask/harden", {{"tokens", 60}, {"length", 10}}, model, true).at("gap").content_hash() ==
        value.at("gap").content_hash());
}

TEST_CASE("masks whose logits are certain close the gap") {
  Model model = masked();
  for (MaskAdapter* mask : masks_of(model)) {
    mask->logits() = at::where(mask->keep(), at::full({}, 60, at::kDouble), at::full({}, -60, at::kDouble));
  }
  const Value value = run("mask/harden", {{"tokens", 40}, {"length", 10}}, model, true);
  CHECK(std::abs(scalar(value, "gap")) < 1e-6);
  CHECK(scalar(value, "soft_sparsity") == Approx(scalar(value, "sparsity")).margin(1e-9));
}

TEST_CASE("hardening without masks is an error") {
  register_all();
  CHECK_THAT(small::error_of([] { run("mask/harden", Json::object(), small::make(), false); }),
             Contains("the model has no learned mask to harden; attach some with `mask`"));
}

TEST_CASE("fixed masks by magnitude drop the smallest weights of all sites") {
  register_all();
  const Model model = small::make();
  std::vector<double> sizes;
  const std::vector<std::string> names = {"layers.0.in_proj", "layers.0.conv1d", "layers.1.in_proj", "layers.1.conv1d"};
  for (const std::string& name : names) {
    Tensor flat = model.weight(name).sparse.abs().reshape({-1}).contiguous();
    sizes.insert(sizes.end(), flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel());
  }
  std::sort(sizes.begin(), sizes.end());
  const auto dropped = sizes.size() * 3 / 10;
  const Json params = {{"sites", "*.in_proj,*.conv1d"}, {"sparsity", 0.3}};
  const Value value = run("mask/fixed", params, model, false);
  const Model pruned = Model::from_field(value.at("model"));
  double zero = 0;
  for (const std::string& name : names) {
    Tensor before = model.weight(name).sparse;
    CHECK(at::equal(pruned.weight(name).mask, before.abs() >= sizes[dropped]));
    CHECK(at::equal(pruned.weight(name).sparse,
                    at::where(before.abs() >= sizes[dropped], before, at::zeros_like(before))));
    zero += zeros(pruned.weight(name).sparse);
  }
  CHECK(zero == static_cast<double>(dropped));
  CHECK(scalar(value, "sparsity") == Approx(0.3).margin(0.01));
  // Again to the same sparsity: nothing more is dropped.
  const Value twice = run("mask/fixed", params, pruned, false);
  CHECK(twice.at("model").content_hash() == value.at("model").content_hash());
}

TEST_CASE("fixed masks by chance depend on the seed alone") {
  register_all();
  const Json params = {{"method", "random"}, {"sites", "kind:linear"}, {"scope", "site"}, {"sparsity", 0.25}};
  const Value a = run("mask/fixed", params, small::make(), false, 1);
  CHECK(run("mask/fixed", params, small::make(), false, 1).at("model").content_hash() == a.at("model").content_hash());
  CHECK(run("mask/fixed", params, small::make(), false, 2).at("model").content_hash() != a.at("model").content_hash());
  for (const Json& share : cells(a, "report", "sparsity")) CHECK(share.get<double>() == Approx(0.25));
}

TEST_CASE("Wanda weighs by the norm of the input, within rows") {
  register_all();
  const Model model = small::make();
  const Json params = {
      {"method", "wanda"}, {"sites", "layers.0.in_proj"}, {"sparsity", 0.5}, {"tokens", 30}, {"length", 10}};
  const Value value = run("mask/fixed", params, model, true);
  struct Squares final : Observer {
    Tensor sum = at::zeros({small::width}, at::kDouble);
    bool wants_site(const SiteSpec& site) const override { return site.name == "layers.0.in_proj"; }
    void on_site(const SiteSpec&, const Tensor& in, const Tensor&) override {
      sum += in.square().reshape({-1, small::width}).sum(0);
    }
  } squares;
  Tensor all = to_tensor(small::text(500).ids).to(at::kLong);
  for (std::int64_t i = 0; i < 3; ++i) {
    Batch batch;
    batch.tensors["ids"] = all.narrow(0, i * 49 / 3 * 10, 10).reshape({1, 10});
    model.forward(batch, {}, &squares);
  }
  const Tensor weight = model.weight("layers.0.in_proj").sparse;
  Tensor scores = weight.abs() * squares.sum.sqrt();
  const Tensor mask = Model::from_field(value.at("model")).weight("layers.0.in_proj").mask;
  for (std::int64_t row = 0; row < weight.size(0); ++row) {
    Tensor median = std::get<0>(scores[row].sort()).slice(0, small::width / 2 - 1, small::width / 2 + 1).mean();
    CHECK(at::equal(mask[row], scores[row] > median));
  }
  CHECK(cells(value, "report", "cosine_loss")[0].get<double>() > 0);
  CHECK_THAT(small::error_of([&] { run("mask/fixed", params, model, false); }), Contains("needs the input `data`"));
  Json wrong = params;
  wrong["sites"] = "embedding";
  CHECK_THAT(small::error_of([&] { run("mask/fixed", wrong, model, true); }),
             Contains("site 'embedding' is of kind embedding, which is given no activations"));
  wrong = {{"scope", "row"}, {"granularity", "block"}, {"sites", "layers.0.in_proj"}};
  CHECK_THAT(small::error_of([&] { run("mask/fixed", wrong, model, false); }),
             Contains("needs granularity = \"element\""));
}

TEST_CASE("fixed masks in blocks drop whole blocks") {
  register_all();
  const Json params = {
      {"sites", "layers.0.in_proj"}, {"granularity", "block"}, {"block_rows", 4}, {"block_columns", 3}};
  const Model pruned = Model::from_field(run("mask/fixed", params, small::make(), false).at("model"));
  const Tensor mask = pruned.weight("layers.0.in_proj").mask.to(at::kDouble).reshape({4, 4, 2, 3}).sum(3).sum(1);
  CHECK(at::logical_or(mask == 0, mask == 12).all().item<bool>());
  CHECK(mask.sum().item<double>() == 48);
}

TEST_CASE("importance is what each method says") {
  const Model model = masked("layers.0.in_proj,layers.1.x_proj#B");
  const auto masks = masks_of(model);
  const auto score = [&](const std::string& method, const Model& of, bool data = false) {
    const Value value = run("mask/importance", {{"method", method}, {"tokens", 30}, {"length", 10}}, of, data);
    return cells(value, "importance", "importance");
  };
  for (std::size_t i = 0; i < masks.size(); ++i) {
    Tensor active = masks[i]->active_elements();
    Tensor logits = masks[i]->logits().masked_select(active);
    CHECK(score("sigma", model)[i].get<double>() == Approx(at::sigmoid(logits).mean().item<double>()));
    CHECK(score("logit_magnitude", model)[i].get<double>() == Approx(logits.abs().mean().item<double>()));
  }
  CHECK_THAT(small::error_of([&] { score("mask_mean", model); }),
             Contains("was never trained, so there is no mean of M"));
  CHECK_THAT(small::error_of([&] { score("sigma", small::make()); }),
             Contains("reads learned masks, and the model has none"));
  CHECK_THAT(small::error_of([&] { score("gradient", model); }), Contains("needs the input `data`"));
  CHECK_THAT(small::error_of([&] {
               run("mask/importance", {{"sites", "layers.0.*proj"}}, model, false);
             }),
             Contains("site 'layers.0.out_proj' has no learned mask"));

  const Model plain = small::make();
  const Json norms = score("weight_norm", plain);
  CHECK(norms.size() == 2 * 5 + 1);
  const Tensor first = plain.weight("layers.0.norm").sparse;
  CHECK(norms[0].get<double>() == Approx(first.norm().item<double>() / std::sqrt(small::width)));
  CHECK(score("random", plain) == score("random", plain));
}

TEST_CASE("the gradient's importance agrees with finite differences") {
  register_all();
  const Model model = small::make();
  const Json params = {
      {"method", "gradient"}, {"tokens", 20}, {"length", 10}, {"sites", "layers.0.conv1d,layers.1.x_proj#B"}};
  const Value value = run("mask/importance", params, model, true);
  Batch batch;
  Tensor all = to_tensor(small::text(500).ids).to(at::kLong);
  std::vector<Tensor> ids, targets;
  for (std::int64_t i = 0; i < 2; ++i) {
    ids.push_back(all.narrow(0, i * 49 / 2 * 10, 10));
    targets.push_back(all.narrow(0, i * 49 / 2 * 10 + 1, 10));
  }
  batch.tensors["ids"] = at::stack(ids);
  batch.tensors["targets"] = at::stack(targets);
  const std::vector<std::pair<std::string, std::pair<std::int64_t, std::int64_t>>> ranges = {
      {"layers.0.conv1d", {0, small::channels * small::taps}},
      {"layers.1.x_proj", {small::step_rank * small::channels, (small::step_rank + small::states) * small::channels}}};
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    Model moved = model.mutable_copy();
    double* weight = moved.writable(ranges[i].first).sparse.data_ptr<double>();
    double sum = 0;
    constexpr double step = 1e-6;
    for (std::int64_t k = ranges[i].second.first; k < ranges[i].second.second; ++k) {
      const double kept = weight[k];
      weight[k] = kept + step;
      const double above = moved.loss(batch).item<double>();
      weight[k] = kept - step;
      const double below = moved.loss(batch).item<double>();
      weight[k] = kept;
      sum += std::abs(above - below) / (2 * step);
    }
    const double mean = sum / static_cast<double>(ranges[i].second.second - ranges[i].second.first);
    CHECK(cells(value, "importance", "importance")[i].get<double>() == Approx(mean).epsilon(1e-5));
  }
}

}  // namespace colonnade
