#pragma once

#include <optional>
#include <vector>

#include "colonnade/tensor/tensor.h"
#include "colonnade/tokens.h"

namespace colonnade {

// What a model reads at once. Language models: "ids" [B, L] i64 and, for a loss, "targets" [B, L] i64 (-100: not scored).
// Made in CPU memory; a model moves what it is given to where the process computes.
struct Batch {
  NamedTensors tensors;
  // Of "ids", the smallest and the largest, where they lie on a device: known without waiting for it.
  struct IdRange {
    std::int64_t lowest = 0, highest = 0;
  };
  std::optional<IdRange> id_range = std::nullopt;

  const Tensor& at(const std::string& name) const;  // throws Error(input)
  bool has(const std::string& name) const { return tensors.contains(name); }
};

constexpr std::int64_t not_scored = -100;

// `length` tokens of a text from each of `starts`: [B, length] i64. Throws Error(input) where that is beyond the text.
Tensor token_windows(const Tokens& tokens, const std::vector<std::int64_t>& starts, std::int64_t length);
// Windows of length + 1 tokens as a batch: "ids" are the first `length`, "targets" the last. `starts` [B].
Batch window_batch(const Tokens& tokens, const std::vector<std::int64_t>& starts, std::int64_t length);

}  // namespace colonnade
