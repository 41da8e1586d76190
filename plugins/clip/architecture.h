// CLIP (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021) as an
// architecture of the SDK: a vision transformer and a causal text transformer whose pooled outputs are projected into
// one space and compared by cosine.
//
// A batch has "pixels" [B, 3, S, S] (normalised), "ids" [T, L], or both. forward gives the embedding of length 1 of
// whatever it is given alone, [B, dimensions], and exp(logit_scale) times all cosines, [B, T], for both. Texts are
// computed up to the last end token of the batch: attention is causal, so what follows has no influence. With "classes"
// [T] texts of one class become one, the mean of their embeddings.
//
// Symmetries, with their variables: "vision.layers.I.heads" (a head's mean output), "vision.layers.I.head.H.values"
// (its outputs), "vision.layers.I.head.H.queries" (its queries), "vision.layers.I.hidden" (the MLP after its
// activation), "vision" (the residual stream after every layer); likewise "text...".
#pragma once

#include "colonnade/tensor/published.h"
#include "configuration.h"

namespace colonnade::clip {

inline constexpr const char* kArchitectureType = "clip/dual_encoder";

class Clip final : public Architecture, public Published {
 public:
  std::string type() const override { return kArchitectureType; }
  std::vector<SiteSpec> sites(const Json& configuration) const override;
  std::vector<Symmetry> symmetries(const Json& configuration) const override;
  Tensor forward(SiteRunner& run, const Json& configuration, const Batch& batch) const override;
  /// Without "targets": the mean of both cross entropies over the logits, each picture's own text and each text's own
  /// picture against all others of the batch; with "groups" [B] examples of one group are left out of each other's.
  /// With "targets" [B]: the cross entropy of the logits against these texts, as in tuning on classes.
  Tensor loss(SiteRunner& run, const Json& configuration, const Batch& batch) const override;
  std::vector<FixedCost> fixed_costs(const Json& configuration, std::int64_t length) const override;
  double applications(const Json& configuration, const SiteSpec& site, std::int64_t length) const override;
  std::map<std::string, Json> published_files(const Json& configuration) const override;
};

enum class Side { text, vision };

/// "text_model.encoder.layers.I."
std::string layer_prefix(Side side, std::int64_t layer);
/// "text" or "vision", as symmetries are named.
const char* side_name(Side side);
const Tower& tower_of(const Configuration& configuration, Side side);

inline constexpr const char* kTokenEmbedding = "text_model.embeddings.token_embedding";
inline constexpr const char* kTextPositions = "text_model.embeddings.position_embedding";
inline constexpr const char* kTextNorm = "text_model.final_layer_norm";
inline constexpr const char* kClassEmbedding = "vision_model.embeddings.class_embedding";
inline constexpr const char* kPatchEmbedding = "vision_model.embeddings.patch_embedding";
inline constexpr const char* kVisionPositions = "vision_model.embeddings.position_embedding";
inline constexpr const char* kPreNorm = "vision_model.pre_layrnorm";  // so it is spelt in the published weights
inline constexpr const char* kPostNorm = "vision_model.post_layernorm";
inline constexpr const char* kVisionProjection = "visual_projection";
inline constexpr const char* kTextProjection = "text_projection";
inline constexpr const char* kLogitScale = "logit_scale";

}  // namespace colonnade::clip
