#pragma once

#include "colonnade/op.h"

// The plugin's ops; what each does is said where plugin.cpp declares it.
namespace colonnade {

Value allocate_adapters(OpContext& context);
Value merge_adapters(OpContext& context);
Value measure_contribution(OpContext& context);
Value compare_allocations(OpContext& context);

inline constexpr const char* default_tuned_sites = "kind:linear,kind:conv1d,*norm*";

}  // namespace colonnade
