#pragma once

#include <ATen/Functions.h>

#include <cmath>
#include <string>

#include "colonnade/registry.h"
#include "colonnade/tensor/calibration.h"
#include "colonnade/tensor/statistics.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade::alphaedit {

inline Tensor normal(at::IntArrayRef shape, std::uint64_t seed) {
  return random_normal(RandomStream(seed).at("alphaedit tests"), shape, at::kDouble);
}

// Keys [n, count] with a spectrum that falls to `floor`, as activations have.
inline Tensor keys_of(std::int64_t inputs, std::int64_t count, std::uint64_t seed, double floor = 1e-4) {
  const Tensor turn = std::get<0>(at::linalg_qr(normal({inputs, inputs}, 77), "reduced"));
  const Tensor scale = at::logspace(0, std::log10(floor), inputs, 10.0, at::kDouble);
  return at::matmul(turn * scale, normal({inputs, count}, seed));
}

inline Tensor gram_of(const Tensor& keys) {
  return at::matmul(keys, keys.t());
}

inline Value run(const std::string& op, Json params, small::Inputs inputs, std::uint64_t seed = 0) {
  register_linked_plugin(colonnade_plugin);
  return small::run("alphaedit/" + op, std::move(params), std::move(inputs), seed);
}

inline Json cell(const Value& value, const std::string& column, std::size_t row = 0) {
  return table_from(value.at("report")).column(column).cells.at(row);
}

inline Model mamba(const std::string& dtype = "f64", std::int64_t vocabulary = small::vocabulary) {
  load_plugin("mamba");
  const Json params = {{"d_model", 48}, {"layers", 2}, {"d_state", 8}, {"dtype", dtype}, {"vocabulary", vocabulary}};
  return Model::from_field(small::run("mamba/mamba", params, {}).at("model"));
}

inline Statistics statistics_of(const Model& model, const std::string& sites, std::uint64_t text = 1) {
  return collect_statistics(model, selected_names(select_sites(model, sites)),
                            calibration_batches(to_field(small::text(1100, text)), 20, 50, model.dtype()));
}

}  // namespace colonnade::alphaedit
