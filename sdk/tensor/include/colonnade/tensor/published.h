#pragma once

#include <map>
#include <string>

#include "colonnade/tensor/model.h"

namespace colonnade {

// An architecture whose family is published in Hugging Face's layout: weights in safetensors under the sites' tensor_name,
// in their published_shape where there is one, and documents beside them.
class Published {
 public:
  virtual ~Published();
  // The documents by file name: at least "config.json", as transformers reads it. Throws Error(input) on what that layout
  // cannot say.
  virtual std::map<std::string, Json> published_files(const Json& configuration) const = 0;
};

// The model's documents; throws Error(input) naming its architecture if that is published nowhere.
std::map<std::string, Json> published_files(const Model& model);

}  // namespace colonnade
