#include "initialise.h"

#include <ATen/Functions.h>

#include <cmath>

#include "architecture.h"

namespace colonnade::mamba {
namespace {

constexpr double kEmbeddingDeviation = 0.02;
constexpr double kStepLowest = 1e-3;
constexpr double kStepHighest = 1e-1;
constexpr double kStepFloor = 1e-4;

Tensor uniform(const RandomStream& random, const SiteSpec& site, double bound) {
  return (random_uniform(random, site.shape, at::kDouble) * 2 - 1) * bound;
}

/// The inverse of softplus at steps drawn log-uniformly.
Tensor step_bias(const RandomStream& random, const SiteSpec& site) {
  const double low = std::log(kStepLowest);
  const Tensor step = at::clamp_min(
      at::exp(random_uniform(random, site.shape, at::kDouble) * (std::log(kStepHighest) - low) + low), kStepFloor);
  return step + at::log(-at::expm1(-step));
}

/// In float64, so that a float32 model is the rounded float64 one.
Tensor initial_weight(const Configuration& c, const SiteSpec& site, const RandomStream& random) {
  const std::string& role = site.roles.front();
  const auto options = at::TensorOptions().dtype(at::kDouble);
  if (role == "embedding") return random_normal(random, site.shape, at::kDouble) * kEmbeddingDeviation;
  if (role == "dt_proj") return uniform(random, site, 1 / std::sqrt(static_cast<double>(c.dt_rank)));
  if (role == "dt_proj.bias") return step_bias(random, site);
  if (role == "A_log") return at::log(at::arange(1, c.d_state + 1, options)).repeat({c.d_inner(), 1});
  if (role == "D" || role == "norm" || role == "norm_f") return at::ones(site.shape, options);
  if (role == "conv1d.bias") return uniform(random, site, 1 / std::sqrt(static_cast<double>(c.conv_width)));
  if (role.ends_with(".bias")) return at::zeros(site.shape, options);
  const double bound = 1 / std::sqrt(static_cast<double>(site.columns()));
  const double depth = role == "out_proj" ? std::sqrt(static_cast<double>(c.layers)) : 1.0;
  return uniform(random, site, bound / depth);
}

}  // namespace

Model initialise(const Configuration& configuration, const RandomStream& random) {
  Model model(std::make_shared<const Mamba>(), to_json(configuration));
  const at::ScalarType type = scalar_type(configuration.dtype);
  for (const SiteSpec& site : model.sites()) {
    SiteWeight weight;
    weight.sparse = initial_weight(configuration, site, random.at(site.name)).to(type).contiguous();
    model.set_weight(site.name, std::move(weight));
  }
  return model;
}

}  // namespace colonnade::mamba
