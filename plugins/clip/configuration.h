// The sizes and options of a CLIP model, and the document that carries them in a model's value.
#pragma once

#include <cstdint>
#include <string>

#include "colonnade/json.h"

namespace colonnade::clip {

enum class Activation {
  quick_gelu,  // x sigmoid(1.702 x), as the first weights were trained with
  gelu,        // x Phi(x)
};
const char* activation_name(Activation activation);
Activation parse_activation(const std::string& name);  // throws Error(input) with what is allowed

/// What a text's embedding is read off.
enum class Pooling {
  highest_id,  // the position of the highest token id, the first of several: the end token's where it is the last id
  end_token,   // the first end token; the first position where there is none
};

/// One of the two transformers.
struct Tower {
  std::int64_t width = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t hidden = 0;  // of the MLP
  Activation activation = Activation::quick_gelu;
  double norm_epsilon = 1e-5;

  std::int64_t head_width() const { return width / heads; }
};

struct Configuration {
  Tower text;
  std::int64_t vocabulary = 0;
  std::int64_t length = 0;  // most tokens of a text
  std::int64_t end_token = 0;
  Pooling pooling = Pooling::end_token;
  Tower vision;
  std::int64_t picture = 0;     // pixels of a side
  std::int64_t patch = 0;       // of a side
  std::int64_t dimensions = 0;  // of the embeddings
  bool wide = false;            // float64

  std::int64_t grid() const { return picture / patch; }
  std::int64_t patches() const { return grid() * grid(); }
  std::int64_t patch_values() const;
};

Json to_json(const Configuration& configuration);
/// Throws Error(input) naming the entry that is missing, has another type or does not fit the others.
Configuration configuration_from(const Json& document);
/// Throws Error(input) where sizes do not go together: widths and heads, pictures and patches, the end token.
void check(const Configuration& configuration);

}  // namespace colonnade::clip
