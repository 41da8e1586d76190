// Half the difference of what sites give (or are given) for matched pairs.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "colonnade/tensor/model.h"

namespace colonnade::nullu {

enum class Side { output, input };
enum class Positions { mean, last };

/// Of one site, f64.
struct Contrast {
  Tensor difference;  // E = (H_true - H_false) / 2, [pairs, D]
  Tensor leading;     // the top right singular vector of H_true, [D]
};

/// The type "nullu/contrasts".
struct Contrasts {
  Side side = Side::output;
  std::map<std::string, Contrast> sites;
};

Field to_field(const Contrasts& contrasts);
Contrasts contrasts_from(const Field& field);  // throws Error(input)

/// Batch i of `truthful` and of `false_ones` hold the same pairs in the same order. A row of H is a pair: the mean over
/// its positions, or the last one. Throws Error(input) where they do not match or a site gives nothing.
Contrasts collect_contrasts(const Model& model, const std::vector<std::string>& sites,
                            const std::vector<Batch>& truthful, const std::vector<Batch>& false_ones, Side side,
                            Positions positions);

struct SubspaceRule {
  std::optional<std::int64_t> rank;
  double energy = 0.95;
  bool squares = true;  // energy counts σ², or σ
  double centring = 0;  // α: E (I - α v₁v₁ᵀ) with v₁ of H_true
};

struct Subspace {
  Tensor basis;  // V_k [D, k] f64
  double energy = 0;
};

/// The top right singular vectors of E, no more than its rank: none where E is all zero.
Subspace subspace_of(const Contrast& contrast, const SubspaceRule& rule);

}  // namespace colonnade::nullu
