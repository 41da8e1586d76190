// Changes of a weight that keep out of the way of keys to be preserved. Everything f64; a weight is [m, n], keys [n,
// count].
#pragma once

#include <string>

#include "colonnade/tensor/tensor.h"

namespace colonnade::alphaedit {

/// The eigenvectors of K₀K₀ᵀ with the smallest eigenvalues.
struct NullSpace {
  Tensor basis;       // U₀ [n, d]; undefined: nothing is preserved, all of the space is free
  double energy = 0;  // sum of their eigenvalues

  std::int64_t dimension(std::int64_t inputs) const { return basis.defined() ? basis.size(1) : inputs; }
  Tensor inside(const Tensor& gram) const;     // U₀ᵀ G U₀
  Tensor reduce(const Tensor& columns) const;  // U₀ᵀ X
  Tensor expand(const Tensor& columns) const;  // U₀ X
};

/// As many as their sum is at most `epsilon` of all. Throws Error(input) with the spectrum where there are none.
NullSpace null_space_of(const Tensor& gram, double epsilon, const std::string& site);

/// ΔW = U Vᵀ.
struct Factors {
  Tensor u;  // [m, r]
  Tensor v;  // [n, r]
};

/// Writes what `residuals` [m, facts] lack at `keys` [n, facts]: ΔW = R Kᵀ U₀ A⁻¹ U₀ᵀ with A = U₀ᵀ(K Kᵀ + C)U₀ + λ I, C
/// of earlier edits [n, n] or undefined. λ is `ridge` times the mean squared length of a key in the null space.
Factors write_keys(const Tensor& residuals, const Tensor& keys, const Tensor& earlier, const NullSpace& free,
                   double ridge);

/// Restores what `lost` = W_before - W_now took from outputs on keys with Gram matrix `gram`, at rank r: with X = U₀ᵀK
/// and Y = lost K, Z = Y Xᵀ (X Xᵀ + λ I)⁻¹, Q the top r left singular vectors of Z X, ΔW = Q Qᵀ Z U₀ᵀ. λ is `ridge`
/// times the mean eigenvalue of X Xᵀ.
Factors restore(const Tensor& lost, const Tensor& gram, const NullSpace& free, std::int64_t rank, double ridge);

/// ‖M K‖ by K's Gram matrix.
double norm_on(const Tensor& matrix, const Tensor& gram);

}  // namespace colonnade::alphaedit
