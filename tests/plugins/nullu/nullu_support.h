#pragma once

#include <ATen/Functions.h>

#include <cmath>
#include <string>

#include "colonnade/registry.h"
#include "colonnade/tensor/statistics.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade::nullu {

inline Tensor normal(at::IntArrayRef shape, std::uint64_t seed) {
  return random_normal(RandomStream(seed).at("nullu tests"), shape, at::kDouble);
}

// A matrix with these singular values.
inline Tensor with_spectrum(std::int64_t rows, std::int64_t columns, const Tensor& singular, std::uint64_t seed = 1) {
  const std::int64_t rank = singular.numel();
  const Tensor left = std::get<0>(at::linalg_qr(normal({rows, rank}, seed), "reduced"));
  const Tensor right = std::get<0>(at::linalg_qr(normal({columns, rank}, seed + 1000), "reduced"));
  return at::matmul(left * singular, right.t());
}

inline Value run(const std::string& op, Json params, small::Inputs inputs, std::uint64_t seed = 0) {
  register_linked_plugin(colonnade_plugin);
  return small::run("nullu/" + op, std::move(params), std::move(inputs), seed);
}

inline Json cell(const Value& value, const std::string& column, std::size_t row = 0) {
  return table_from(value.at("report")).column(column).cells.at(row);
}

// A Mamba large enough for low ranks to pay.
inline Model mamba(const std::string& dtype = "f32") {
  load_plugin("mamba");
  const Json params = {{"d_model", 48},    {"layers", 2},    {"d_state", 8},
                       {"use_bias", true}, {"dtype", dtype}, {"vocabulary", small::vocabulary}};
  Model model = Model::from_field(small::run("mamba/mamba", params, {}).at("model")).mutable_copy();
  for (const SiteSpec& site : model.sites()) {
    if (!site.name.ends_with("proj.bias")) continue;
    model.writable(site.name).sparse = normal(site.shape, 3).to(model.dtype()) * 0.5;
  }
  return model;
}

}  // namespace colonnade::nullu
