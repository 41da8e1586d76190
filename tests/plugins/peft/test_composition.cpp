#include <catch2/catch.hpp>

#include <algorithm>

#include "tests/support/finite_differences.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

// The three adapters on one site: whatever their order, folding and permuting leave the function as it is, and what a
// mask drops stays dropped.
namespace colonnade {

namespace {

constexpr const char* adapted = "kind:linear,kind:conv1d";

void register_all() {
  register_linked_plugin(colonnade_plugin);
  for (const char* name : {"mask", "lora", "ia3", "mamba", "train"}) load_plugin(name);
}

Model attach(const std::string& adapter, const Model& model, const std::string& sites) {
  Json params = {{"sites", sites}};
  if (adapter == "lora") params["rank"] = 2;
  if (adapter == "mask") params.update({{"granularity", "block"}, {"block_rows", 3}, {"block_columns", 2}});
  if (adapter != "mask") params["freeze"] = false;
  return small::run_model(adapter + "/" + adapter, params, model);
}

// Every non-empty choice of the three in every order.
std::vector<std::vector<std::string>> every_order() {
  std::vector<std::vector<std::string>> orders;
  for (int subset = 1; subset < 8; ++subset) {
    std::vector<std::string> chosen;
    const std::vector<std::string> names = {"ia3", "lora", "mask"};
    for (std::size_t i = 0; i < names.size(); ++i) {
      if ((subset >> i & 1) != 0) chosen.push_back(names[i]);
    }
    do orders.push_back(chosen);
    while (std::next_permutation(chosen.begin(), chosen.end()));
  }
  return orders;
}

// Adds a mask, a low-rank part or both to some sites, so that adapters meet every representation that takes all three.
// A reference beside a mask takes no scale and is tested where the error is.
Model represented(Model model) {
  int kind = 0;
  for (const SiteSpec& site : model.sites()) {
    if (site.kind != SiteKind::linear && site.kind != SiteKind::conv1d) continue;
    SiteWeight& weight = model.writable(site.name);
    const RandomStream random = RandomStream(3).at(site.name);
    const auto type = weight.sparse.scalar_type();
    if (kind % 3 == 1) apply_mask(weight, random_uniform(random.at("keep"), weight.sparse.sizes(), at::kDouble) < 0.7);
    if (kind % 3 == 2) set_reference(weight, weight.sparse * 0.3);
    if (kind % 2 == 0) {
      weight.u = random_normal(random.at("u"), {site.rows(), 1}, type) * 0.3;
      weight.v = random_normal(random.at("v"), {site.columns(), 1}, type) * 0.3;
    }
    ++kind;
  }
  return model;
}

Model adapted_model(const std::vector<std::string>& order, const Model& base, const std::string& sites = adapted) {
  Model model = base;
  for (const std::string& adapter : order) model = attach(adapter, model, sites);
  model = model.mutable_copy();
  small::randomise_adapters(model, 11);
  return model;
}

void permute_everything(Model& model) {
  for (const Symmetry& symmetry : model.symmetries()) {
    permute(model, symmetry, random_permutation(RandomStream(21).at(symmetry.name), symmetry.size));
  }
}

bool masks_and_references_clash(const std::vector<std::string>& order) {
  const auto has = [&](const char* name) { return std::find(order.begin(), order.end(), name) != order.end(); };
  return has("mask") && has("ia3");
}

Model without_references(Model model) {
  for (const SiteSpec& site : model.sites()) model.writable(site.name).reference = Tensor();
  return model;
}

}  // namespace

TEST_CASE("folded equals unfolded for every choice and order of adapters") {
  register_all();
  const Model base = represented(small::make());
  for (const auto& order : every_order()) {
    // A scale on what has a mask and a reference has no folded form without giving the mask up.
    const Model start = masks_and_references_clash(order) ? without_references(base.mutable_copy()) : base;
    const Model model = adapted_model(order, start);
    const Tensor expected = model.forward(small::batch());
    const Value value = small::run("peft/merge", Json::object(), {{"model", model.to_field()}});
    const Model merged = Model::from_field(value.at("model"));
    INFO("order " << Json(order).dump());
    CHECK(small::relative_error(merged.forward(small::batch()), expected) < 1e-10);
  }
}

TEST_CASE("permuted equals unpermuted for every choice and order of adapters") {
  register_all();
  const Model base = represented(small::make());
  for (const auto& order : every_order()) {
    Model model = adapted_model(order, base);
    const Tensor expected = model.forward(small::batch());
    permute_everything(model);
    INFO("order " << Json(order).dump());
    CHECK(small::relative_error(model.forward(small::batch()), expected) < 1e-11);
  }
}

TEST_CASE("the order of attaching does not matter") {
  register_all();
  const Model base = represented(small::make());
  const auto copy_into = [](const Model& from, const Model& to) {
    for (const AttachedAdapter& target : to.adapters()) {
      for (const AttachedAdapter* source : from.adapters_of(target.site)) {
        if (source->adapter->type() != target.adapter->type()) continue;
        for (auto& [name, entry] : target.adapter->tensors()) entry.tensor = source->adapter->tensors().at(name).tensor;
      }
    }
  };
  const Model one = adapted_model({"mask", "lora", "ia3"}, base);
  const Model other = adapted_model({"ia3", "lora", "mask"}, base);
  copy_into(one, other);
  CHECK(small::relative_error(other.forward(small::batch()), one.forward(small::batch())) < 1e-12);
  // In training too, where masks are soft.
  const StepInfo info{true, 0, 2, RandomStream(1)};
  CHECK(small::relative_error(other.forward(small::batch(), info), one.forward(small::batch(), info)) < 1e-12);
}

TEST_CASE("zeros stay zero when updates are merged, in either order, with hard and with hardened masks") {
  register_all();
  for (const bool mask_first : {true, false}) {
    for (const bool harden : {true, false}) {
      const std::vector<std::string> order =
          mask_first ? std::vector<std::string>{"mask", "lora"} : std::vector<std::string>{"lora", "mask"};
      Model model = adapted_model(order, small::make());
      if (harden) model = small::run_model("mask/harden", Json::object(), model);
      const Tensor expected = model.forward(small::batch());
      const Model merged = small::run_model("peft/merge", Json::object(), model);
      CHECK(small::relative_error(merged.forward(small::batch()), expected) < 1e-11);
      for (const std::string& site : selected_names(select_sites(merged, adapted))) {
        const SiteWeight& weight = merged.weight(site);
        REQUIRE(weight.has_mask());
        CHECK(weight.rank() == 0);
        CHECK(at::equal(weight.sparse != 0, weight.mask));
        CHECK(weight.mask.logical_not().any().item<bool>());
      }
    }
  }
}

TEST_CASE("a soft mask in training multiplies the update like the weight") {
  register_all();
  const std::string site = "layers.0.in_proj";
  Model model = adapted_model({"lora", "mask"}, small::make(), site);
  const StepInfo info{true, 0, 2, RandomStream(1)};
  Tensor mask, update;
  for (const AttachedAdapter* attached : model.adapters_of(site)) {
    if (attached->adapter->mask(info).defined()) mask = attached->adapter->mask(info);
    if (attached->adapter->update(info).defined()) update = attached->adapter->update(info);
  }
  Model by_hand = small::make();
  Tensor& weight = by_hand.writable(site).sparse;
  weight = mask * (weight + update);
  CHECK(small::relative_error(model.forward(small::batch(), info), by_hand.forward(small::batch())) < 1e-12);
}

TEST_CASE("all three adapters get gradients together") {
  register_all();
  Model model = adapted_model({"lora", "mask", "ia3"}, represented(small::make()));
  const StepInfo info{true, 1, 4, RandomStream(1)};
  const Batch batch = small::batch();
  check_gradients(model, [&](const Model& at) { return at.loss(batch, info) + at.penalty(info); });
}

TEST_CASE("Mamba keeps its function through folding and permuting with all adapters") {
  register_all();
  const Json params = {
      {"d_model", 8},     {"layers", 2},   {"d_state", 4}, {"dt_rank", 3}, {"vocabulary", small::vocabulary},
      {"use_bias", true}, {"dtype", "f64"}};
  Model base = Model::from_field(small::run("mamba/mamba", params, {}).at("model")).mutable_copy();
  for (const SiteSpec& site : base.sites()) {
    Tensor& weight = base.writable(site.name).sparse;
    weight = weight + random_normal(RandomStream(6).at(site.name), weight.sizes(), at::kDouble) * 0.3;
  }
  Model model = adapted_model({"mask", "lora", "ia3"}, base);
  const Tensor expected = model.forward(small::batch());
  const Model merged = small::run_model("peft/merge", Json::object(), model);
  CHECK(small::relative_error(merged.forward(small::batch()), expected) < 1e-10);
  permute_everything(model);
  CHECK(small::relative_error(model.forward(small::batch()), expected) < 1e-10);
}

TEST_CASE("an allocation trains nothing but its adapters and keeps a sparse model sparse") {
  register_all();
  Model model = small::run_model("mask/mask", {{"sites", adapted}}, small::make("f32"));
  model = small::run_model("mask/harden", Json::object(), model);
  const Json allocation = {{"order", "random"}, {"peft_application_ratio", 0.6}};
  const Model tuned = small::run_model("peft/peft", allocation, model);
  const Value trained = small::run("train/train", {{"steps", 8}, {"batch", 2}, {"length", 8}, {"learning_rate", 1e-2}},
                                   {{"model", tuned.to_field()}, {"data", to_field(small::text(300))}});
  const Model after = Model::from_field(trained.at("model"));
  for (const SiteSpec& site : after.sites())
    CHECK(at::equal(after.weight(site.name).sparse, model.weight(site.name).sparse));
  double moved = 0;
  for (std::size_t i = 0; i < after.adapters().size(); ++i) {
    for (const auto& [name, entry] : after.adapters()[i].adapter->tensors()) {
      moved += small::largest_difference(entry.tensor, tuned.adapters()[i].adapter->tensors().at(name).tensor);
    }
  }
  CHECK(moved > 0);
  const Model merged = small::run_model("peft/merge", Json::object(), after);
  for (const std::string& site : selected_names(select_sites(merged, adapted))) {
    const SiteWeight& weight = merged.weight(site);
    CHECK((weight.sparse * weight.mask.logical_not()).abs().max().item<double>() == 0);
  }
  CHECK(merged.counts().nonzero <= model.counts().nonzero);
}

}  // namespace colonnade
