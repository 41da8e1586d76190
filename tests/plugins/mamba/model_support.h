// Random Mamba models, batches and the oracle fixtures, for tests of the mamba plugin.
#pragma once

#include <ATen/Functions.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <string>
#include <vector>

#include "colonnade/tensor/model.h"
#include "plugins/mamba/architecture.h"

namespace colonnade::mamba {

inline std::string fixture(const std::string& name) {
  return std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/mamba/" + name;
}

inline double relative_error(const Tensor& a, const Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).abs().max() / b.to(at::kDouble).abs().max()).item<double>();
}

/// Every kind of bias, sizes that share no factor.
inline Configuration small_configuration() {
  Configuration c;
  c.d_model = 6;
  c.layers = 2;
  c.d_state = 3;
  c.conv_width = 3;
  c.dt_rank = 2;
  c.vocabulary = 11;
  c.use_bias = true;
  c.norm_epsilon = 1e-4;
  c.dtype = DType::f64;
  return c;
}

/// Random numbers around what the tensor is in a trained model, none of them alike.
inline Tensor random_weight(const SiteSpec& site, const RandomStream& random) {
  const Tensor noise = random_normal(random.at(site.name), site.shape, at::kDouble);
  const std::string& role = site.roles.front();
  if (role == "A_log") return noise * 0.6 + 0.4;
  if (role == "dt_proj.bias") return noise * 0.8 - 1;
  if (role == "D" || role.starts_with("norm")) return noise * 0.4 + 1;
  if (site.kind == SiteKind::vector) return noise * 0.5;
  return noise / std::sqrt(static_cast<double>(site.columns()));
}

/// A model whose every tensor is random; with `parts` linears are a reference, a sparse and a low-rank part.
inline Model random_model(const Configuration& configuration, std::uint64_t seed, bool parts = false) {
  const RandomStream random(seed);
  Model model(std::make_shared<const Mamba>(), to_json(configuration));
  const at::ScalarType type = scalar_type(configuration.dtype);
  for (const SiteSpec& site : model.sites()) {
    SiteWeight weight;
    weight.sparse = random_weight(site, random).to(type);
    if (parts && site.kind == SiteKind::linear) {
      constexpr std::int64_t kRank = 2;
      weight.reference = random_weight(site, random.at("reference")).to(type);
      weight.u = random_normal(random.at("u").at(site.name), {site.rows(), kRank}, type) * 0.3;
      weight.v = random_normal(random.at("v").at(site.name), {site.columns(), kRank}, type) * 0.3;
    }
    model.set_weight(site.name, std::move(weight));
  }
  return model;
}

inline Batch random_batch(const Configuration& c, std::int64_t sequences, std::int64_t length, std::uint64_t seed) {
  const auto draw = [&](const char* name) {
    const Tensor uniform = random_uniform(RandomStream(seed).at(name), {sequences, length}, at::kDouble);
    return at::floor(uniform * static_cast<double>(c.vocabulary)).to(at::kLong);
  };
  return {{{"ids", draw("ids")}, {"targets", draw("targets")}}};
}

struct NamedGradient {
  Parameter parameter;
  Tensor gradient;
};

/// Gradients of the loss by every trainable parameter.
inline std::vector<NamedGradient> loss_gradients(Model& model, const Batch& batch) {
  std::vector<Parameter> parameters = model.parameters();
  std::vector<Tensor> leaves;
  for (const Parameter& parameter : parameters) {
    *parameter.tensor = parameter.tensor->detach().requires_grad_();
    leaves.push_back(*parameter.tensor);
  }
  const std::vector<Tensor> gradients = torch::autograd::grad({model.loss(batch)}, leaves);
  std::vector<NamedGradient> result;
  for (size_t i = 0; i < parameters.size(); ++i) {
    *parameters[i].tensor = parameters[i].tensor->detach();
    result.push_back({parameters[i], gradients[i]});
  }
  return result;
}

}  // namespace colonnade::mamba
