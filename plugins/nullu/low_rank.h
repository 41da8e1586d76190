// Matrices of low rank near a given one.
#pragma once

#include <optional>
#include <string>

#include "colonnade/tensor/tensor.h"

namespace colonnade::nullu {

enum class Method { automatic, svd, randomised, qr };

/// How many singular values to keep: exactly one of the three.
struct RankRule {
  std::optional<std::int64_t> rank;
  std::optional<double> ratio;   // of those there are
  std::optional<double> energy;  // the fewest whose squares are this share of all squares

  /// Without knowing the spectrum; nothing where it takes energy.
  std::optional<std::int64_t> of_count(std::int64_t available) const;
  /// At least 1, at most all of `singular` (falling, f64).
  std::int64_t of_spectrum(const Tensor& singular) const;
};

/// Q [m, r] with orthonormal columns; Q Qᵀ M is the approximation of M.
struct Projection {
  Tensor basis;
  double tail = 0;    // √Σσ² of what is left out, of the matrix that was decomposed; NaN where not known (qr)
  double energy = 0;  // share of squares kept, likewise
  Method method = Method::svd;
};

/// M [m, n] f64. The left singular vectors of the `rule`'s largest singular values, by LAPACK (svd), by a random range
/// finder with power steps (Halko et al., 2011), or the first columns that pivoted QR takes. automatic: randomised
/// where the rank is known beforehand and at most 5 % of min(m, n), else svd.
Projection project_rank(const Tensor& matrix, const RankRule& rule, Method method, const RandomStream& random);

/// The same for U Vᵀ without forming it.
Projection project_factors(const Tensor& u, const Tensor& v, const RankRule& rule);

/// L with L Lᵀ = C, for a symmetric C that is positive semidefinite to rounding.
Tensor root_of(const Tensor& symmetric);

}  // namespace colonnade::nullu
