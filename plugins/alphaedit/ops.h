#pragma once

#include "colonnade/registry.h"

// The plugin's ops; what each does is said where it is declared.
namespace colonnade::alphaedit {

void declare_compensate(Registrar& registrar);
void declare_interpolate(Registrar& registrar);
void declare_edit(Registrar& registrar);  // and the facts it reads
void declare_recall(Registrar& registrar);

}  // namespace colonnade::alphaedit
