#include "colonnade/colonnade.h"
#include "sets.h"

namespace colonnade::images {

OpDeclaration& declare_set(Registrar& registrar, const char* name) {
  return registrar.op(name)
      .output("train", "pictures", "the training split")
      .output("valid", "pictures", "the validation split")
      .output("test", "pictures", "the test split")
      .output("info", "record", "how many pictures each split has, what was skipped and why");
}

namespace {

void register_plugin(Registrar& registrar) {
  declare_emoji(registrar);
  declare_classes(registrar);
  declare_captions(registrar);
}

}  // namespace
}  // namespace colonnade::images

COLONNADE_PLUGIN(colonnade::images::register_plugin);
