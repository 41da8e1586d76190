#include "colonnade/colonnade.h"
#include "ops.h"

namespace colonnade::alphaedit {

namespace {

void register_plugin(Registrar& registrar) {
  declare_compensate(registrar);
  declare_interpolate(registrar);
  declare_edit(registrar);
  declare_recall(registrar);
}

}  // namespace

}  // namespace colonnade::alphaedit

COLONNADE_PLUGIN(colonnade::alphaedit::register_plugin);
