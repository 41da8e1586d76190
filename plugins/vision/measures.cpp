#include "measures.h"

#include <ATen/Functions.h>

#include <limits>

namespace colonnade::vision {
namespace {

constexpr double kClipScoreWeight = 2.5;

}  // namespace

Tensor ranks(const Tensor& scores, const Tensor& targets) {
  const Tensor own = scores.gather(1, targets.reshape({-1, 1}));
  return scores.ge(own).sum(1) - 1;
}

Tensor best_ranks(const Tensor& scores, const Tensor& right) {
  const double lowest = -std::numeric_limits<double>::infinity();
  const Tensor best = scores.masked_fill(right.logical_not(), lowest).amax(1, true);
  return at::logical_and(scores.ge(best), right.logical_not()).sum(1);
}

Tensor clip_scores(const Tensor& cosines) {
  return cosines.clamp_min(0) * kClipScoreWeight;
}

}  // namespace colonnade::vision
