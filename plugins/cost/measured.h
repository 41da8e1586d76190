#pragma once

#include "colonnade/registry.h"

namespace colonnade {

// The ops `latency` and `training_cost`: times and memory of this machine.
void declare_measured(Registrar& registrar);

}  // namespace colonnade
