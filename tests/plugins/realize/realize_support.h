#pragma once

#include <string>

#include "colonnade/registry.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade::realize {

using Inputs = std::vector<std::pair<std::string, Field>>;

inline Value run(const std::string& op, Json params, Inputs inputs, std::uint64_t seed = 0) {
  register_linked_plugin(colonnade_plugin);
  load_plugin(op.substr(0, op.find('/')));
  return small::run(op, std::move(params), std::move(inputs), seed);
}

inline Model run_on(const std::string& op, const Model& model, Json params, std::uint64_t seed = 0) {
  load_plugin(op.substr(0, op.find('/')));
  return small::run_model(op, std::move(params), model, seed);
}

inline Value stored(const Model& model, Json params = Json::object(), const Model* tuned = nullptr) {
  register_linked_plugin(colonnade_plugin);
  Inputs inputs = {{"model", model.to_field()}};
  if (tuned != nullptr) inputs.emplace_back("tuned", tuned->to_field());
  return small::run("realize/stored", std::move(params), std::move(inputs));
}

inline Model rounded(const Model& model, const std::string& values) {
  register_linked_plugin(colonnade_plugin);
  return small::run_model("realize/rounded", {{"values", values}}, model);
}

inline double number(const Value& value, const std::string& name) {
  return scalar_from(value.at(name)).value;
}

// A Mamba with a block of every kind of site.
inline Model mamba(std::int64_t d_model = 48, std::uint64_t seed = 0, const std::string& dtype = "f32") {
  load_plugin("mamba");
  const Json params = {{"d_model", d_model}, {"layers", 2}, {"d_state", 8}, {"vocabulary", 11}, {"dtype", dtype}};
  return Model::from_field(small::run("mamba/mamba", params, {}, seed).at("model"));
}

// A model and what a little noise, as of fine-tuning, made of it.
inline Model tuned(const Model& base, double size = 0.01) {
  Model model = base.mutable_copy();
  for (const SiteSpec& site : model.sites()) {
    Tensor& weight = model.writable(site.name).sparse;
    weight.add_(random_normal(RandomStream(5).at(site.name), weight.sizes(), weight.scalar_type()), size);
  }
  return model;
}

inline Model relative(const Model& model, const Model& base) {
  load_plugin("reference");
  const Inputs inputs = {{"model", model.to_field()}, {"base", base.to_field()}};
  return Model::from_field(small::run("reference/relative_to", Json::object(), inputs).at("model"));
}

inline bool same_weights(const Model& a, const Model& b) {
  for (const SiteSpec& site : a.sites()) {
    if (!at::equal(effective_weight(a.weight(site.name)), effective_weight(b.weight(site.name)))) return false;
  }
  return true;
}

}  // namespace colonnade::realize
