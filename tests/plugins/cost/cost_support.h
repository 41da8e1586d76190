#pragma once

#include <string>
#include <utility>

#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade::cost {

inline Value of(const std::string& op, const Model& model, Json params = Json::object()) {
  register_linked_plugin(colonnade_plugin);
  return small::run("cost/" + op, std::move(params), {{"model", model.to_field()}});
}

inline double number(const Value& value, const char* name) {
  return scalar_from(value.at(name)).value;
}

// A model one of whose sites is masked by coins; says how many zeros that made.
struct Masked {
  Model model;
  double zeros = 0;
};
inline Masked masked(const std::string& site) {
  Model model = small::make();
  SiteWeight& weight = model.writable(site);
  apply_mask(weight, random_uniform(RandomStream(8), weight.sparse.sizes()) < 0.6);
  const double zeros = static_cast<double>(weight.sparse.numel()) - weight.mask.sum().item<double>();
  return {std::move(model), zeros};
}

}  // namespace colonnade::cost
