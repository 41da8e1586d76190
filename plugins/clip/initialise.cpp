#include "initialise.h"

#include <ATen/Functions.h>

#include <cmath>

#include "architecture.h"

namespace colonnade::clip {
namespace {

constexpr double kTokenDeviation = 0.02;
constexpr double kTextPositionDeviation = 0.01;
constexpr double kTemperature = 0.07;

/// The deviation of a normal tensor.
double deviation_of(const Configuration& c, const SiteSpec& site) {
  const Side side = site.name.starts_with("text") ? Side::text : Side::vision;
  const Tower& tower = tower_of(c, side);
  const double scale = 1 / std::sqrt(static_cast<double>(tower.width));
  const std::string& role = site.roles.front();
  if (role == "token_embedding") return kTokenDeviation;
  if (role == "position_embedding" && side == Side::text) return kTextPositionDeviation;
  if (role == "fc1") return scale / std::sqrt(2.0);
  if (role == "out_proj" || role == "fc2") return scale / std::sqrt(2 * static_cast<double>(tower.layers));
  return scale;
}

/// In float64, so that a float32 model is the rounded float64 one.
Tensor initial_weight(const Configuration& c, const SiteSpec& site, const RandomStream& random) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const std::string& role = site.roles.front();
  if (role == kLogitScale) return at::full(site.shape, -std::log(kTemperature), options);
  if (role.ends_with(".bias")) return at::zeros(site.shape, options);
  if (site.kind == SiteKind::vector && role != "class_embedding") return at::ones(site.shape, options);
  if (role == "patch_embedding") {
    const double bound = 1 / std::sqrt(static_cast<double>(site.columns()));
    return (random_uniform(random, site.shape, at::kDouble) * 2 - 1) * bound;
  }
  return random_normal(random, site.shape, at::kDouble) * deviation_of(c, site);
}

}  // namespace

Model initialise(const Configuration& configuration, const RandomStream& random) {
  Model model(std::make_shared<const Clip>(), to_json(configuration));
  const at::ScalarType type = configuration.wide ? at::kDouble : at::kFloat;
  for (const SiteSpec& site : model.sites()) {
    SiteWeight weight;
    weight.sparse = initial_weight(configuration, site, random.at(site.name)).to(type).contiguous();
    model.set_weight(site.name, std::move(weight));
  }
  return model;
}

}  // namespace colonnade::clip
