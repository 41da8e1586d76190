// What is left of a gain.
#pragma once

#include <optional>
#include <string>

#include "colonnade/value.h"

namespace colonnade {

/// A task's gain from tuning, and a compressed model's share of it.
struct Retention {
  Scalar share;                 // (m_compressed - m_base) / (m_tuned - m_base); NaN over no sample where undefined
  Scalar of_tuned;              // m_compressed / m_tuned; the same
  double gain = 0;              // m_tuned - m_base, positive where tuning made the task better
  std::optional<double> error;  // standard error of the gain
  bool paired = false;          // by example
  std::string undefined;        // why, empty where it is defined
};

/// `least_errors`: what a gain must exceed, in its standard errors, for a share of it to mean anything. Errors come
/// from the differences by example where all three metrics are means of the same examples, else they are taken as
/// independent. Throws Error(input) where the metrics do not measure the same.
Retention find_retention(const Scalar& compressed, const Scalar& base, const Scalar& tuned, double least_errors);

/// m_now - m_before in the metric's own unit, its error paired where it can be.
Scalar find_drift(const Scalar& now, const Scalar& before);

}  // namespace colonnade
