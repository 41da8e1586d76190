#pragma once

#include <ATen/Functions.h>

#include "colonnade/tensor/examples.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

// A CLIP of 24 pixels, 8 tokens and 20 ids, and pairs for it. The test's NEEDS names `clip`.
namespace colonnade::small {

inline Model clip() {
  load_plugin("clip");
  const Json params = {{"vision_width", 16}, {"vision_layers", 1}, {"vision_heads", 2}, {"text_width", 12},
                       {"text_layers", 1},   {"text_heads", 2},    {"picture", 24},     {"patch", 8},
                       {"vocabulary", 20},   {"length", 8},        {"dimensions", 10}};
  return Model::from_field(run("clip/clip", params, {}).at("model"));
}

inline Examples pairs(std::uint64_t seed) {
  const RandomStream random = RandomStream(seed).at("pairs");
  Examples examples;
  constexpr std::int64_t count = 16, length = 8, picture = 24, last = 19;
  examples.rows["pixels"] =
      (random_uniform(random.at("pixels"), {count, 3, picture, picture}, at::kDouble) * 255).to(at::kByte);
  Tensor ids = (random_uniform(random.at("ids"), {count, length}, at::kDouble) * last).to(at::kInt);
  ids.select(1, length - 1).fill_(last);
  examples.rows["ids"] = ids;
  examples.scaling["pixels"] = {{0.5, 0.5, 0.5}, {0.3, 0.3, 0.3}};
  return examples;
}

}  // namespace colonnade::small
