// What masks keep, and how much they drop.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "mask.h"

namespace colonnade {

namespace {

struct Ranked {
  double score, weight;
  std::size_t number;  // settles equal scores
  bool operator<(const Ranked& other) const {
    return score != other.score ? score > other.score : number < other.number;
  }
};

// Brings those to keep to the front, until what they weigh is as near to `wanted` as it gets; returns the first to
// drop. Without a full sort where all weigh the same, since masks of elements are large and decide after every step.
std::vector<Ranked>::iterator keep_first(std::vector<Ranked>& ranked, double wanted) {
  if (ranked.empty()) return ranked.end();
  const double weight = ranked.front().weight;
  if (std::all_of(ranked.begin(), ranked.end(), [&](const Ranked& each) { return each.weight == weight; })) {
    const auto count = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(wanted / weight + 0.5)), 0,
                                                static_cast<std::int64_t>(ranked.size()));
    const auto border = ranked.begin() + count;
    if (border != ranked.end()) std::nth_element(ranked.begin(), border, ranked.end());
    return border;
  }
  std::sort(ranked.begin(), ranked.end());
  double sum = 0;
  auto border = ranked.begin();
  for (; border != ranked.end() && sum + border->weight / 2 <= wanted; ++border) sum += border->weight;
  return border;
}

}  // namespace

double soft_sparsity(const std::vector<MaskAdapter*>& masks) {
  double kept = 0, all = 0;
  for (MaskAdapter* mask : masks) {
    Tensor weights = mask->governed();
    kept += (at::sigmoid(mask->logits().detach().to(at::kDouble)) * weights).sum().item<double>();
    all += weights.sum().item<double>();
  }
  return all > 0 ? 1 - kept / all : 0;
}

double hard_sparsity(const std::vector<MaskAdapter*>& masks) {
  double kept = 0, all = 0;
  for (MaskAdapter* mask : masks) {
    Tensor weights = mask->governed();
    kept += (weights * mask->keep()).sum().item<double>();
    all += weights.sum().item<double>();
  }
  return all > 0 ? 1 - kept / all : 0;
}

std::vector<Tensor> keep_highest(const std::vector<Tensor>& scores, const std::vector<Tensor>& governed,
                                 double target) {
  std::vector<Ranked> ranked;
  double all = 0;
  std::size_t number = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    require_finite(scores[i], "the scores by which masks keep and drop");
    const Tensor score = scores[i].detach().to(at::kDouble).cpu().contiguous();
    const Tensor weight = governed[i].to(at::kDouble).cpu().contiguous();
    for (std::int64_t k = 0; k < score.numel(); ++k, ++number) {
      const double w = weight.const_data_ptr<double>()[k];
      all += w;
      if (w > 0) ranked.push_back({score.const_data_ptr<double>()[k], w, number});
    }
  }
  const double wanted = std::round((1 - target) * all);
  std::vector<char> kept(number, 1);
  for (auto dropped = keep_first(ranked, wanted); dropped != ranked.end(); ++dropped) kept[dropped->number] = 0;
  std::vector<Tensor> result;
  std::size_t offset = 0;
  for (const Tensor& like : scores) {
    Tensor keep = at::empty(like.sizes(), at::kBool);
    std::copy_n(kept.begin() + static_cast<std::ptrdiff_t>(offset), like.numel(), keep.data_ptr<bool>());
    offset += static_cast<std::size_t>(like.numel());
    result.push_back(keep.to(like.device()));
  }
  return result;
}

void decide(const std::vector<MaskAdapter*>& masks, ThresholdRule rule, double target) {
  at::NoGradGuard guard;
  if (rule == ThresholdRule::zero) {
    for (MaskAdapter* mask : masks) mask->keep() = mask->logits().detach() > 0;
    return;
  }
  std::vector<Tensor> scores, governed;
  for (MaskAdapter* mask : masks) {
    scores.push_back(mask->logits());
    governed.push_back(mask->governed());
  }
  const auto keeps = keep_highest(scores, governed, target);
  for (std::size_t i = 0; i < masks.size(); ++i) masks[i]->keep() = keeps[i];
}

}  // namespace colonnade
