#pragma once

#include "colonnade/random.h"
#include "colonnade/tensor/model.h"
#include "configuration.h"

namespace colonnade::clip {

/// A fresh model, initialised as the authors' code does its text transformer, in both towers: all normal, with
/// deviation width^-1/2 for queries, keys and values, (2 width)^-1/2 for fc1, width^-1/2 (2 layers)^-1/2 for what
/// writes to the residual stream (out_proj, fc2), width^-1/2 for projections, class and vision positions, 0.02 for
/// tokens, 0.01 for text positions; patches uniform in +-1/sqrt(fan in); norms 1, biases 0; logit_scale = ln(1/0.07).
/// Every tensor draws from a stream named after its site.
Model initialise(const Configuration& configuration, const RandomStream& random);

}  // namespace colonnade::clip
