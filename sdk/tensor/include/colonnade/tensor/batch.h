#pragma once

#include <vector>

#include "colonnade/tensor/tensor.h"
#include "colonnade/tokens.h"

namespace colonnade {

// What a model reads at once. Language models: "ids" [B, L] i64 and, for a loss, "targets" [B, L] i64 (-100: not scored).
struct Batch {
  NamedTensors tensors;

  const Tensor& at(const std::string& name) const;  // throws Error(input)
  bool has(const std::string& name) const { return tensors.contains(name); }
};

constexpr std::int64_t not_scored = -100;

// `length` tokens of a text from each of `starts`: [B, length] i64. Throws Error(input) where that is beyond the text.
Tensor token_windows(const Tokens& tokens, const std::vector<std::int64_t>& starts, std::int64_t length);
// Windows of length + 1 tokens as a batch: "ids" are the first `length`, "targets" the last. `starts` [B].
Batch window_batch(const Tokens& tokens, const std::vector<std::int64_t>& starts, std::int64_t length);

}  // namespace colonnade
