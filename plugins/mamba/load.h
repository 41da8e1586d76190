#pragma once

#include <optional>
#include <string>

#include "colonnade/json.h"
#include "colonnade/tensor/model.h"
#include "configuration.h"

namespace colonnade::mamba {

/// What the caller wants of a loaded model.
struct LoadRequest {
  std::string weights;                // see WeightFiles
  std::optional<std::string> config;  // config.json elsewhere
  Json expected = Json::object();  // entries of Configuration, by name, that must hold; norm_epsilon is taken from here
  Discretization discretization = Discretization::mamba;
  bool fused = true;
  std::optional<DType> dtype = DType::f32;  // of the weights; nothing: the type that the file has them in
};

/// Reads a model in Hugging Face's layout (backbone.embeddings) or the authors' (backbone.embedding). Sizes are read
/// off the tensors; config.json, of either kind, and `expected` must agree with them. Throws Error(input) naming file
/// and tensor or entry for whatever does not fit, including tensors that a Mamba model has no place for.
Model load_model(const LoadRequest& request);

}  // namespace colonnade::mamba
