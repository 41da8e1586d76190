// What Hugging Face's transformers reads of a CLIP model beside its weights.
#include "architecture.h"
#include "colonnade/error.h"

namespace colonnade::clip {
namespace {

/// transformers takes this end token for one of the early files, whose texts are read off at the highest id.
constexpr std::int64_t kEarlyEndToken = 2;
constexpr double kByteScale = 1.0 / 255;
constexpr int kBicubic = 3;

Json published_tower(const Tower& tower) {
  return {{"hidden_size", tower.width},
          {"intermediate_size", tower.hidden},
          {"num_hidden_layers", tower.layers},
          {"num_attention_heads", tower.heads},
          {"hidden_act", activation_name(tower.activation)},
          {"layer_norm_eps", tower.norm_epsilon}};
}

Json published_text(const Configuration& c) {
  if (c.pooling == Pooling::end_token && c.end_token == kEarlyEndToken) {
    throw Error(ErrorKind::input,
                "the model's end token is 2, and transformers reads texts of such a model off at their highest id, not "
                "at the end token as this one does: it cannot be written in Hugging Face's layout");
  }
  Json text = published_tower(c.text);
  text["model_type"] = "clip_text_model";
  text["vocab_size"] = c.vocabulary;
  text["max_position_embeddings"] = c.length;
  text["projection_dim"] = c.dimensions;
  const bool by_end_token = c.pooling == Pooling::end_token;
  text["eos_token_id"] = by_end_token ? c.end_token : kEarlyEndToken;
  // Read by nothing here, and the default lies outside small vocabularies.
  text["bos_token_id"] = by_end_token && c.end_token > 0 ? c.end_token - 1 : 0;
  return text;
}

Json published_vision(const Configuration& c) {
  Json vision = published_tower(c.vision);
  vision["model_type"] = "clip_vision_model";
  vision["num_channels"] = 3;
  vision["image_size"] = c.picture;
  vision["patch_size"] = c.patch;
  vision["projection_dim"] = c.dimensions;
  return vision;
}

/// Pictures as the published models were trained on; a data set of other means has to say so itself.
Json preprocessor(const Configuration& c) {
  return {{"image_processor_type", "CLIPImageProcessor"},
          {"do_convert_rgb", true},
          {"do_resize", true},
          {"size", {{"shortest_edge", c.picture}}},
          {"resample", kBicubic},
          {"do_center_crop", true},
          {"crop_size", {{"height", c.picture}, {"width", c.picture}}},
          {"do_rescale", true},
          {"rescale_factor", kByteScale},
          {"do_normalize", true},
          {"image_mean", {0.48145466, 0.4578275, 0.40821073}},
          {"image_std", {0.26862954, 0.26130258, 0.27577711}}};
}

}  // namespace

std::map<std::string, Json> Clip::published_files(const Json& document) const {
  const Configuration c = configuration_from(document);
  const Json config = {{"architectures", {"CLIPModel"}},   {"model_type", "clip"},
                       {"projection_dim", c.dimensions},   {"torch_dtype", c.wide ? "float64" : "float32"},
                       {"text_config", published_text(c)}, {"vision_config", published_vision(c)}};
  return {{"config.json", config}, {"preprocessor_config.json", preprocessor(c)}};
}

}  // namespace colonnade::clip
