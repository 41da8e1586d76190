#pragma once

#include <optional>
#include <string>

#include "colonnade/tensor/model.h"
#include "configuration.h"

namespace colonnade::clip {

/// What the caller wants of a loaded model.
struct LoadRequest {
  std::string weights;                // see WeightFiles
  std::optional<std::string> config;  // config.json elsewhere
  std::optional<Activation> activation;
  std::optional<std::int64_t> text_heads, vision_heads, end_token;
  bool wide = false;
};

/// Reads a model in Hugging Face's layout (text_model..., vision_model...) or the authors' (transformer..., visual...).
/// Sizes are read off the tensors; config.json of Hugging Face's kind and the request must agree with them. What
/// tensors do not show is taken from the request, else from config.json, else as published: heads of 64 values,
/// QuickGELU, texts read off at the highest token id. Throws Error(input) naming file and tensor or entry for whatever
/// does not fit, including tensors that a CLIP model has no place for.
Model load_model(const LoadRequest& request);

}  // namespace colonnade::clip
