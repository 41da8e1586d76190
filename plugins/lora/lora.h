#pragma once

#include <memory>

#include "colonnade/tensor/adapter.h"

namespace colonnade {

struct LoraOptions {
  std::int64_t rank = 8;
  double alpha = 32;
  double dropout = 0;
  bool rank_stabilised = false;  // scale alpha / sqrt(rank) instead of alpha / rank

  double scale() const;
};

// Low-rank adaptation (Hu et al., "LoRA", 2021): ΔW = scale · B A with A [rank, columns], B [rows, rank] on the site's
// matrix. A starts uniform in ±1/sqrt(columns) (Kaiming with a = sqrt 5), B zero, so that a fresh adapter changes
// nothing. Rank-stabilised scale: Kalajdzievski, 2023. The numbers of A are `random`'s; dropout draws from the training
// step's.
std::unique_ptr<Adapter> make_lora(const SiteSpec& site, const LoraOptions& options, at::ScalarType type,
                                   const RandomStream& random);

AdapterType lora_type();

}  // namespace colonnade
