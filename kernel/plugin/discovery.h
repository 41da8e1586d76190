#pragma once

#include <vector>

#include "kernel/plugin/catalogue.h"

namespace colonnade::host {

// The plugin files of all folders: name, file, origin and what they shadow filled in, in order of precedence.
// Error(usage) if an explicit path is no plugin file and no folder.
std::vector<PluginInfo> discover_plugins(const PluginPaths& paths);

}  // namespace colonnade::host
