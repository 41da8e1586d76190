#include "tests/support/plugins.h"

#include <dlfcn.h>

#include <set>
#include <stdexcept>

#include "colonnade/plugin.h"
#include "colonnade/registry.h"

namespace colonnade {
namespace {

std::set<std::string>& registered_names() {
  static std::set<std::string> names;
  return names;
}

}  // namespace

void register_linked_plugin(const PluginDescriptor& descriptor) {
  if (!registered_names().insert(descriptor.name).second) return;
  Registrar registrar(descriptor.name);
  if (char* message = descriptor.register_plugin(&registrar)) {
    const std::string text = message;
    descriptor.release(message);
    throw std::runtime_error("plugin " + std::string(descriptor.name) + " did not register: " + text);
  }
  Registry::instance().commit(std::move(registrar));
}

void load_plugin(const std::string& name) {
  if (registered_names().count(name) > 0) return;
  const std::string file = std::string(COLONNADE_TEST_PLUGIN_DIR) + "/" + name + ".plugin.so";
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const void* symbol = dlsym(library, "colonnade_plugin");
  if (symbol == nullptr) throw std::runtime_error(file + " has no colonnade_plugin");
  register_linked_plugin(*static_cast<const PluginDescriptor*>(symbol));
}

}  // namespace colonnade
