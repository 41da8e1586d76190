#pragma once

#include <string>

#include "colonnade/op.h"
#include "colonnade/tensor/model.h"

// The plugin's ops; what each does is said where plugin.cpp declares it.
namespace colonnade {

Value attach_masks(OpContext& context);
Value harden_masks(OpContext& context);
Value mask_fixed(OpContext& context);
Value score_importance(OpContext& context);

// Sites with a mask of their own in the default selection: what the input decides in a selective state-space block, and
// its convolution.
inline constexpr const char* default_masked_sites = "*.x_proj#B,*.x_proj#C,*.conv1d";
std::string sites_to_mask(const Model& model);  // these, or linear sites in a model that has none of them
inline constexpr const char* default_scored_sites = "kind:linear,kind:conv1d,*norm*";

}  // namespace colonnade
