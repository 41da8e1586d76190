// The ops of the clip plugin, by the file that declares them.
#pragma once

#include "colonnade/registry.h"

namespace colonnade::clip {

void declare_models(Registrar& registrar);
void declare_shrink(Registrar& registrar);
void declare_texts(Registrar& registrar);

}  // namespace colonnade::clip
