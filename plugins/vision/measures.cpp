#include "measures.h"

#include <ATen/Functions.h>

#include <limits>

namespace colonnade::vision {
namespace {

constexpr double kClipScoreWeight = 2.5;

}  // namespace

// What is not below is counted, not what is at least as high: a score that is no number is never right.
Tensor ranks(const Tensor& scores, const Tensor& targets) {
  const Tensor own = scores.gather(1, targets.reshape({-1, 1}));
  return scores.lt(own).logical_not().sum(1) - 1;
}

Tensor best_ranks(const Tensor& scores, const Tensor& right) {
  const double lowest = -std::numeric_limits<double>::infinity();
  const Tensor counts = at::logical_and(right, scores.isnan().logical_not());
  const Tensor best = scores.masked_fill(counts.logical_not(), lowest).amax(1, true);
  return at::logical_and(scores.lt(best).logical_not(), right.logical_not()).sum(1);
}

Tensor clip_scores(const Tensor& cosines) {
  return cosines.clamp_min(0) * kClipScoreWeight;
}

}  // namespace colonnade::vision
