// What is measured on embeddings alone; a better score is a higher one, and of equal ones the worse rank holds, so that
// a model that gives everything the same score earns nothing by it, nor one whose scores are no numbers (embeddings of
// length 0 have no direction).
#pragma once

#include <vector>

#include "colonnade/tensor/tensor.h"

namespace colonnade::vision {

/// Ranks from 0 of `target` among a row's scores: how many others are at least as high. scores [N, C], targets [N] ->
/// [N] i64.
Tensor ranks(const Tensor& scores, const Tensor& targets);

/// Ranks from 0 of the best of the right answers: how many wrong ones are at least as high as it. scores, right [N, C]
/// -> [N].
Tensor best_ranks(const Tensor& scores, const Tensor& right);

/// 2.5 max(cosine, 0) (Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", 2021).
Tensor clip_scores(const Tensor& cosines);

}  // namespace colonnade::vision
