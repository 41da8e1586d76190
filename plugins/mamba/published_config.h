// What a published config.json says of a Mamba model, Hugging Face's kind or the authors'.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "colonnade/json.h"

namespace colonnade::mamba {

struct PublishedEntry {
  std::string name;  // of Configuration
  std::string key;   // in the file
  Json value;
};

struct PublishedConfig {
  std::vector<PublishedEntry> sizes;
  std::optional<double> norm_epsilon;
};

/// Throws Error(input) naming the file and the entry: no JSON object, an entry of the wrong type, or one that asks for
/// something other than this architecture (an untied head, another activation, another kind of layer).
PublishedConfig read_published_config(const std::string& path);

}  // namespace colonnade::mamba
