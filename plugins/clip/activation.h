// The MLP's activation.
#pragma once

#include "colonnade/tensor/tensor.h"
#include "configuration.h"

namespace colonnade::clip {

/// Differentiable. `x` may be written where nothing records gradients: it is a fresh output of a linear.
Tensor activate(Activation activation, Tensor x);

}  // namespace colonnade::clip
