#pragma once

#include "colonnade/op.h"
#include "colonnade/tensor/model.h"

namespace colonnade::realize {

Value stored(OpContext& context);
Value rounded(OpContext& context);

/// The model with what its adapters do written into its weights.
Model folded(const Model& model);

}  // namespace colonnade::realize
