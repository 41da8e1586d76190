#pragma once

#include <string>

// Ways for a test of one plugin to have others around it. Both throw std::runtime_error with the reason.
namespace colonnade {

// Loads NAME.plugin.so of this build and registers its ops in this process, as a worker does. Again is no error.
void load_plugin(const std::string& name);

// Registers the ops of a plugin whose objects are linked into the test: pass its `colonnade_plugin`. Again is no error.
struct PluginDescriptor;
void register_linked_plugin(const PluginDescriptor& descriptor);

}  // namespace colonnade
