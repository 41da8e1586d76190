#pragma once

#include <optional>
#include <vector>

#include "colonnade/registry.h"
#include "colonnade/value.h"

namespace colonnade {

// Where a training that may have several phases first comes down to a validation loss.
struct Convergence {
  double goal = 0;
  std::optional<double> best;                   // lowest validation loss of all phases
  std::optional<std::size_t> phase;             // in which the goal is met; nothing where it never is
  std::int64_t step = 0;                        // within that phase
  std::vector<std::int64_t> steps_of_phases{};  // each phase's length
};

// `curves` in the phases' order; columns "step" and "valid_nats". The goal is the lowest "valid_nats" of `reference`
// times 1 + tolerance. A phase without evaluations counts by its steps alone. Throws Error(input) where the reference
// has none.
Convergence find_convergence(const std::vector<Table>& curves, const Table& reference, double tolerance);

// The ops `convergence` and `convergence_time`.
void declare_convergence(Registrar& registrar);

}  // namespace colonnade
