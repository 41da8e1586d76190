#pragma once

#include "alphaedit_support.h"

// The stages of a cascade, each as one call on a model, on the sites that all of them act on.
namespace colonnade::alphaedit::stages {

inline const std::string sites = "role:in_proj,role:out_proj";

inline void load_all() {
  register_linked_plugin(colonnade_plugin);
  for (const char* name : {"mamba", "lora", "mask", "peft", "dare", "nullu", "reference"}) load_plugin(name);
}

inline Value apply(const std::string& op, Json params, const Model& model, small::Inputs others = {},
                   std::uint64_t seed = 0) {
  small::Inputs inputs = {{"model", model.to_field()}};
  inputs.insert(inputs.end(), others.begin(), others.end());
  return small::run(op, std::move(params), inputs, seed);
}

inline Field text(std::uint64_t seed) {
  return to_field(small::text(330, seed));
}

// What the stages read besides the model: collected once from the start.
struct Around {
  Field start, keys, contrasts;

  explicit Around(const Model& model) : start(model.to_field()), keys(to_field(statistics_of(model, sites))) {
    contrasts = apply("nullu/contrasts", {{"sites", sites}, {"samples", 12}, {"length", 20}}, model,
                      {{"truthful", text(1)}, {"misleading", text(2)}})
                    .at("contrasts");
  }
};

inline Value run_stage(const std::string& stage, const Model& model, const Around& around) {
  if (stage == "dare") return apply("dare/dare", {{"sites", sites}, {"drop_rate", 0.5}}, model);
  if (stage == "mask") return apply("mask/fixed", {{"sites", sites}, {"sparsity", 0.4}, {"method", "random"}}, model);
  if (stage == "project") return apply("nullu/project", {{"rank", 2}}, model, {{"contrasts", around.contrasts}});
  if (stage == "compensate") {
    return apply("alphaedit/compensate", {{"rank", 2}, {"alpha", 1.0}}, model,
                 {{"before", around.start}, {"keys", around.keys}});
  }
  if (stage == "truncate") return apply("nullu/truncate", {{"rank", 2}, {"sites", sites}}, model);
  if (stage == "truncate effective")
    return apply("nullu/truncate", {{"rank", 4}, {"sites", sites}, {"on", "effective"}}, model);
  // lora, as training would leave it, then merged
  Model adapted =
      Model::from_field(apply("lora/lora", {{"sites", sites}, {"rank", 2}}, model).at("model")).mutable_copy();
  small::randomise_adapters(adapted, 9, 0.05, 0);
  return apply("peft/merge", Json::object(), adapted);
}

}  // namespace colonnade::alphaedit::stages
