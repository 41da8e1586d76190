// Re-estimates the order while a model trains.
#pragma once

#include <memory>

#include "ordering.h"

namespace colonnade::scan {

/// After every `every` steps, passes `batches` training batches through the model, orders the axis anew and permutes
/// weights, everything attached and the optimizer's state. The function, and so the loss, stays the same up to
/// rounding.
std::shared_ptr<Hook> make_update_hook(const OrderingOptions& options, std::int64_t every, std::int64_t batches);
HookType update_hook_type();

}  // namespace colonnade::scan
