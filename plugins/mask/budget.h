#pragma once

#include <memory>

#include "mask.h"

namespace colonnade {

enum class PenaltyRule { lagrangian, fixed };

struct BudgetOptions {
  double target_sparsity = 0.5;
  PenaltyRule penalty = PenaltyRule::lagrangian;
  double sparsity_weight = 1e-5;  // of the fixed penalty
  double multiplier_rate = 1;     // of the multiplier's ascent
  ThresholdRule threshold = ThresholdRule::budget;
};

// Draws the soft sparsity of all learned masks of a model, taken together, to the target: penalty λ · |soft − target|
// in nats. λ is either fixed or a Lagrangian multiplier by dual ascent: after every step λ += rate · |soft − target|.
// After every step it also decides what evaluation keeps (`decide`). Metrics: soft and hard sparsity and λ.
std::shared_ptr<Hook> make_budget(const BudgetOptions& options);
HookType budget_type();

}  // namespace colonnade
