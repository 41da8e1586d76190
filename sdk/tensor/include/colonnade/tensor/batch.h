#pragma once

#include "colonnade/tensor/tensor.h"

namespace colonnade {

// What a model reads at once. Language models: "ids" [B, L] i64 and, for a loss, "targets" [B, L] i64 (-100: not scored).
struct Batch {
  NamedTensors tensors;

  const Tensor& at(const std::string& name) const;  // throws Error(input)
  bool has(const std::string& name) const { return tensors.contains(name); }
};

constexpr std::int64_t not_scored = -100;

}  // namespace colonnade
