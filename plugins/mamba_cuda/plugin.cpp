#include "colonnade/colonnade.h"

namespace colonnade {
namespace {

/// The kernels reach models through LibTorch's dispatcher (scan_op.cpp); there is no op of this plugin's own.
void register_plugin(Registrar&) {}

}  // namespace
}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
