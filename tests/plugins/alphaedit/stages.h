#pragma once

#include "alphaedit_support.h"
#include "tests/support/small_clip.h"

// The stages of a cascade, each as one call on a model, on the sites that all of them act on.
namespace colonnade::alphaedit::stages {

// Of a Mamba, and of CLIP's towers.
inline const std::string sites = "role:in_proj,role:out_proj", clip_sites = "*.q_proj,*.fc1,*.out_proj";

inline void load_all() {
  register_linked_plugin(colonnade_plugin);
  for (const char* name : {"mamba", "clip", "lora", "mask", "peft", "dare", "nullu", "reference", "realize"}) {
    load_plugin(name);
  }
}

inline Value apply(const std::string& op, Json params, const Model& model, small::Inputs others = {},
                   std::uint64_t seed = 0) {
  small::Inputs inputs = {{"model", model.to_field()}};
  inputs.insert(inputs.end(), others.begin(), others.end());
  return small::run(op, std::move(params), inputs, seed);
}

inline Model small_clip() {
  load_all();
  return small::clip();
}

inline Field text(std::uint64_t seed) {
  return to_field(small::text(330, seed));
}

inline Field pairs(std::uint64_t seed) {
  return to_field(small::pairs(seed));
}

// What the stages act on and read besides the model: collected once from the start.
struct Around {
  std::string chosen;
  Field start, keys, contrasts;

  explicit Around(const Model& model)
      : chosen(sites), start(model.to_field()), keys(to_field(statistics_of(model, sites))) {
    collect_contrasts(model, text(1), text(2));
  }
  // For ops that read nothing besides the model.
  Around(std::string only, const Model& model) : chosen(std::move(only)), start(model.to_field()) {}
  static Around of_clip(const Model& model) { return Around(model, clip_sites); }

 private:
  Around(const Model& model, const std::string& clip) : chosen(clip), start(model.to_field()) {
    const auto batches = calibration_batches(pairs(3), 16, 8, model.dtype());
    keys = to_field(collect_statistics(model, selected_names(select_sites(model, chosen)), batches));
    collect_contrasts(model, pairs(1), pairs(2));
  }
  void collect_contrasts(const Model& model, const Field& truthful, const Field& misleading) {
    contrasts = apply("nullu/contrasts", {{"sites", chosen}, {"samples", 12}, {"length", 20}}, model,
                      {{"truthful", truthful}, {"misleading", misleading}})
                    .at("contrasts");
  }
};

inline Value run_stage(const std::string& stage, const Model& model, const Around& around) {
  const std::string& sites = around.chosen;
  if (stage == "dare") return apply("dare/dare", {{"sites", sites}, {"drop_rate", 0.5}}, model);
  if (stage == "dare magnitude")
    return apply("dare/dare", {{"sites", sites}, {"drop_rate", 0.7}, {"strategy", "magnitude"}}, model);
  if (stage == "dare rows")
    return apply("dare/dare", {{"sites", sites}, {"drop_rate", 0.5}, {"strategy", "structured"}}, model);
  if (stage == "rounded") return apply("realize/rounded", {{"values", "fp16"}}, model);
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
