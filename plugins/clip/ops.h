// The ops of the clip plugin, by the file that declares them.
#pragma once

#include "colonnade/registry.h"

namespace colonnade::clip {

void declare_models(Registrar& registrar);

}  // namespace colonnade::clip
