// The data sets, by the file that reads them.
#pragma once

#include "colonnade/registry.h"

namespace colonnade::images {

void declare_emoji(Registrar& registrar);
void declare_classes(Registrar& registrar);
void declare_captions(Registrar& registrar);

/// Inputs and outputs that all data sets have.
OpDeclaration& declare_set(Registrar& registrar, const char* name);

}  // namespace colonnade::images
