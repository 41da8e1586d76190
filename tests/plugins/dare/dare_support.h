#pragma once

#include <string>

#include "colonnade/registry.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade::dare {

inline Value run_dare(const Model& model, Json params = Json::object(), std::uint64_t seed = 0) {
  register_linked_plugin(colonnade_plugin);
  return small::run("dare/dare", std::move(params), {{"model", model.to_field()}}, seed);
}

inline Model dared(const Model& model, Json params = Json::object(), std::uint64_t seed = 0) {
  return Model::from_field(run_dare(model, std::move(params), seed).at("model"));
}

// A Mamba with weights of its own, of one block of every kind of site.
inline Model mamba(std::uint64_t seed = 0, const std::string& dtype = "f32") {
  load_plugin("mamba");
  const Json params = {{"d_model", 48}, {"layers", 2}, {"d_state", 8}, {"vocabulary", 11}, {"dtype", dtype}};
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
  return Model::from_field(
      small::run("reference/relative_to", Json::object(), {{"model", model.to_field()}, {"base", base.to_field()}})
          .at("model"));
}

inline bool same_masks(const Model& a, const Model& b) {
  for (const SiteSpec& site : a.sites()) {
    const SiteWeight &x = a.weight(site.name), &y = b.weight(site.name);
    if (x.has_mask() != y.has_mask()) return false;
    if (x.has_mask() && !at::equal(x.mask, y.mask)) return false;
  }
  return true;
}

inline double report(const Value& value, const std::string& column, std::size_t row = 0) {
  return table_from(value.at("report")).column(column).cells.at(row).get<double>();
}

}  // namespace colonnade::dare
