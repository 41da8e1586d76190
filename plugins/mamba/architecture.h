// Mamba (Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023) as an architecture of
// the SDK.
//
// A block: u = RMSNorm(x); (x, z) = in_proj u; x = silu(conv1d x); (dt, B, C) = x_proj x; delta = softplus(dt_proj dt);
// y = scan(x, delta, -exp(A_log), B, C, D) silu(z); the block's output is its input plus out_proj y. The head is the
// embedding.
//
// Symmetries: "layers.I.channels" (d_inner), "layers.I.state" (d_state), "model" (the residual stream). Their variables
// are the state h averaged over d_state, h averaged over d_inner, and the output of every block.
#pragma once

#include "colonnade/tensor/published.h"
#include "colonnade/tensor/recurrent.h"
#include "configuration.h"

namespace colonnade::mamba {

inline constexpr const char* kArchitectureType = "mamba/language_model";

/// The state of a sequence: for each layer the last inputs of its convolution, "layers.I.conv" [B, width - 1, d_inner],
/// and the scan's state, "layers.I.scan" [B, d_inner, d_state].
class Mamba final : public Architecture, public Recurrent, public Published {
 public:
  std::string type() const override { return kArchitectureType; }
  std::vector<SiteSpec> sites(const Json& configuration) const override;
  std::vector<Symmetry> symmetries(const Json& configuration) const override;
  Tensor forward(SiteRunner& run, const Json& configuration, const Batch& batch) const override;
  Tensor loss(SiteRunner& run, const Json& configuration, const Batch& batch) const override;
  NamedTensors initial_state(const Json& configuration, std::int64_t batch, at::ScalarType dtype) const override;
  Tensor forward_from(SiteRunner& run, const Json& configuration, const Batch& batch,
                      NamedTensors& state) const override;
  std::vector<FixedCost> fixed_costs(const Json& configuration, std::int64_t length) const override;
  double applications(const Json& configuration, const SiteSpec& site, std::int64_t length) const override;
  std::map<std::string, Json> published_files(const Json& configuration) const override;
};

/// "backbone.layers.I."
std::string layer_prefix(std::int64_t layer);
inline constexpr const char* kEmbeddingSite = "backbone.embeddings";
inline constexpr const char* kFinalNormSite = "backbone.norm_f";

}  // namespace colonnade::mamba
