#include "layout.h"

#include <map>

#include "colonnade/error.h"

namespace colonnade::clip {
namespace {

constexpr const char* kOriginalTokens = "token_embedding.weight";
const std::string kWeight = ".weight";

/// Sites outside the layers by their tensors in the authors' layout.
const std::map<std::string, std::string>& outer_names() {
  static const std::map<std::string, std::string> names = {{kTokenEmbedding, kOriginalTokens},
                                                           {kTextPositions, "positional_embedding"},
                                                           {kTextNorm, "ln_final.weight"},
                                                           {std::string(kTextNorm) + ".bias", "ln_final.bias"},
                                                           {kClassEmbedding, "visual.class_embedding"},
                                                           {kPatchEmbedding, "visual.conv1.weight"},
                                                           {kVisionPositions, "visual.positional_embedding"},
                                                           {kPreNorm, "visual.ln_pre.weight"},
                                                           {std::string(kPreNorm) + ".bias", "visual.ln_pre.bias"},
                                                           {kPostNorm, "visual.ln_post.weight"},
                                                           {std::string(kPostNorm) + ".bias", "visual.ln_post.bias"},
                                                           {kVisionProjection, "visual.proj"},
                                                           {kTextProjection, "text_projection"},
                                                           {kLogitScale, "logit_scale"}};
  return names;
}

/// Inside a layer, but for queries, keys and values, which share a tensor.
const std::map<std::string, std::string>& inner_names() {
  static const std::map<std::string, std::string> names = {
      {"layer_norm1", "ln_1.weight"},    {"layer_norm1.bias", "ln_1.bias"},    {"layer_norm2", "ln_2.weight"},
      {"layer_norm2.bias", "ln_2.bias"}, {"out_proj", "attn.out_proj.weight"}, {"out_proj.bias", "attn.out_proj.bias"},
      {"fc1", "mlp.c_fc.weight"},        {"fc1.bias", "mlp.c_fc.bias"},        {"fc2", "mlp.c_proj.weight"},
      {"fc2.bias", "mlp.c_proj.bias"}};
  return names;
}

}  // namespace

Layout::Layout(const WeightFiles& file) {
  const bool hub = file.has(kTokenEmbedding + kWeight);
  original_ = !hub && file.has(kOriginalTokens);
  if (hub || original_) return;
  throw Error(ErrorKind::input, file.path() + ": has neither '" + kTokenEmbedding + kWeight + "' nor '" +
                                    kOriginalTokens + "', one of which every CLIP model has");
}

std::string Layout::layers_prefix(Side side) const {
  if (!original_) return std::string(side_name(side)) + "_model.encoder.layers.";
  return side == Side::text ? "transformer.resblocks." : "visual.transformer.resblocks.";
}

Source Layout::source_of(const Configuration& c, const SiteSpec& site) const {
  if (!original_) return {site.tensor_name};
  if (site.layer < 0) {
    const bool projection = site.name == kVisionProjection || site.name == kTextProjection;
    return {outer_names().at(site.name), 0, -1, projection};
  }
  const Side side = site.name.starts_with("text") ? Side::text : Side::vision;
  const std::string block = layers_prefix(side) + std::to_string(site.layer) + ".";
  const std::string& role = site.roles.front();
  if (const auto found = inner_names().find(role); found != inner_names().end()) return {block + found->second};
  const std::int64_t width = tower_of(c, side).width;
  const std::int64_t part = role[0] == 'q' ? 0 : role[0] == 'k' ? 1 : 2;
  return {block + (role.ends_with(".bias") ? "attn.in_proj_bias" : "attn.in_proj_weight"), part * width, width};
}

bool Layout::is_buffer(const std::string& tensor) const {
  if (!original_) return tensor.ends_with("embeddings.position_ids");
  return tensor == "attn_mask" || tensor == "input_resolution" || tensor == "context_length" || tensor == "vocab_size";
}

std::string Layout::token_embedding() const {
  return original_ ? kOriginalTokens : kTokenEmbedding + kWeight;
}
std::string Layout::text_positions() const {
  return original_ ? "positional_embedding" : kTextPositions + kWeight;
}
std::string Layout::vision_positions() const {
  return original_ ? "visual.positional_embedding" : kVisionPositions + kWeight;
}
std::string Layout::patch_embedding() const {
  return original_ ? "visual.conv1.weight" : kPatchEmbedding + kWeight;
}
std::string Layout::vision_projection() const {
  return original_ ? "visual.proj" : kVisionProjection + kWeight;
}
std::string Layout::first_layer_mlp(Side side) const {
  return layers_prefix(side) + "0.mlp." + (original_ ? "c_fc" : "fc1") + kWeight;
}

}  // namespace colonnade::clip
