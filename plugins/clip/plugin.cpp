#include "architecture.h"
#include "colonnade/colonnade.h"
#include "ops.h"

namespace colonnade::clip {
namespace {

void register_plugin(Registrar& registrar) {
  register_architecture(registrar, std::make_shared<const Clip>());
  declare_models(registrar);
  declare_shrink(registrar);
  declare_texts(registrar);
}

}  // namespace
}  // namespace colonnade::clip

COLONNADE_PLUGIN(colonnade::clip::register_plugin);
