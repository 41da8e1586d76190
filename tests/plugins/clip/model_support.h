// Random CLIP models, batches and the oracle fixtures, for tests of the clip plugin.
#pragma once

#include <ATen/Functions.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "colonnade/tensor/model.h"
#include "plugins/clip/architecture.h"

namespace colonnade::clip {

inline std::string fixture(const std::string& name) {
  return std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/clip/" + name;
}

inline double relative_error(const Tensor& a, const Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).abs().max() / b.to(at::kDouble).abs().max()).item<double>();
}

/// Towers of different sizes that share few factors.
inline Configuration small_configuration() {
  Configuration c;
  c.text = {6, 2, 3, 5, Activation::quick_gelu, 1e-4};
  c.vocabulary = 11;
  c.length = 7;
  c.end_token = 10;
  c.pooling = Pooling::end_token;
  c.vision = {8, 2, 2, 7, Activation::quick_gelu, 1e-5};
  c.picture = 6;
  c.patch = 3;
  c.dimensions = 5;
  c.wide = true;
  return c;
}

/// Random numbers around what the tensor is in a trained model, none of them alike.
inline Tensor random_weight(const SiteSpec& site, const RandomStream& random) {
  const Tensor noise = random_normal(random.at(site.name), site.shape, at::kDouble);
  const std::string& role = site.roles.front();
  if (role == kLogitScale) return noise * 0 + 1.3;
  if (role.find("norm") != std::string::npos && !role.ends_with(".bias")) return noise * 0.4 + 1;
  if (site.kind == SiteKind::vector || site.kind == SiteKind::embedding) return noise * 0.6;
  return noise * 1.3 / std::sqrt(static_cast<double>(site.columns()));
}

/// A model whose every tensor is random; with `parts` linears are a reference, a sparse and a low-rank part.
inline Model random_model(const Configuration& configuration, std::uint64_t seed, bool parts = false) {
  const RandomStream random(seed);
  Model model(std::make_shared<const Clip>(), to_json(configuration));
  const at::ScalarType type = configuration.wide ? at::kDouble : at::kFloat;
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

/// Pairs of pictures and texts; the end token stands at another place in each text, with other tokens behind it.
inline Batch random_batch(const Configuration& c, std::int64_t pairs, std::uint64_t seed) {
  const RandomStream random(seed);
  const Tensor uniform = random_uniform(random.at("ids"), {pairs, c.length}, at::kDouble);
  Tensor ids = at::floor(uniform * static_cast<double>(c.vocabulary - 1)).to(at::kLong);
  for (std::int64_t i = 0; i < pairs; ++i) ids[i][1 + i % (c.length - 1)] = c.end_token;
  return {
      {{"ids", ids}, {"pixels", random_normal(random.at("pixels"), {pairs, 3, c.picture, c.picture}, at::kDouble)}}};
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

}  // namespace colonnade::clip
