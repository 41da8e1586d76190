// config.json as Hugging Face writes it for CLIP.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "configuration.h"

namespace colonnade::clip {

struct PublishedEntry {
  std::string key;   // in the file: "text_config.hidden_size"
  std::string name;  // in a Configuration's document: "text.width"
  std::int64_t value = 0;
};

/// What such a file says; entries it lacks are absent.
struct PublishedConfig {
  std::vector<PublishedEntry> sizes;  // that tensors show too
  std::optional<std::int64_t> text_heads, vision_heads, end_token;
  std::optional<Activation> text_activation, vision_activation;
  std::optional<double> text_epsilon, vision_epsilon;
};

/// Throws Error(input) naming file and entry where one has the wrong type or describes another kind of model.
PublishedConfig read_published_config(const std::string& path);

}  // namespace colonnade::clip
