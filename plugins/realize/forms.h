// The forms that a linear weight can run in, and which is taken.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "form.h"

namespace colonnade::realize {

/// The site by itself: R + S as S, and U Vᵀ.
SiteWeight without_reference(const SiteWeight& weight);

/// A weight to run: S, or nothing, or a form of S; beside U Vᵀ.
struct Candidate {
  std::string name;  // "dense", "compact", "sparse", each perhaps with " + low rank"; "low rank", "zero"
  SiteWeight weight;
  std::optional<RunningForm> form;

  std::int64_t bytes() const;
  std::int64_t numbers() const;  // that products multiply by
};

/// W dense; R + S dense beside U Vᵀ, without lines that are all zero, sparse (below half its elements); low rank or
/// nothing where R + S is zero. Names are different.
std::vector<Candidate> candidates(const SiteWeight& weight);

/// What the runner computes of it, without the bias.
Tensor product(const Candidate& candidate, const Tensor& x);

/// Puts it in place of the site's weight. The site must be writable.
void put(Model& model, const std::string& site, Candidate candidate);

/// What stands in place of S, for files.
enum class Kept : std::uint8_t { all, nothing, compact, sparse };
Kept kept_at(const Model& model, const std::string& site);
/// S, U and V of a decoded site in such a form again.
Candidate candidate_from(const SiteWeight& weight, Kept kept);

/// The model with S dense again where it runs in a form; nothing else changes.
Model with_dense_weights(const Model& model);

}  // namespace colonnade::realize
