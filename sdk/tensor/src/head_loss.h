#pragma once

#include "colonnade/tensor/tensor.h"

namespace colonnade {

// The mean of -log softmax(x Wᵀ)[target] over the rows of x [rows, dim] whose target is not `not_scored`, W [classes,
// dim]; NaN where none is scored. Differentiable in x and W. Logits exist for some rows at a time only: gradients are
// computed on the way forward, since the loss of a row needs nothing of the others.
Tensor head_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& targets);

}  // namespace colonnade
