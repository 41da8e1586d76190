#pragma once

#include <filesystem>
#include <vector>

#include "colonnade/json.h"
#include "kernel/plugin/catalogue.h"

namespace colonnade::host {

// Loads the plugin into this process and commits its ops to the Registry; nothing if it is loaded already. Plugins it
// requires must be loaded first (Catalogue::closure gives the order). Never unloaded. Error(environment) naming the
// plugin, its file and what failed; then nothing of it is registered. Main thread only, in a worker or a describing
// process.
void load_plugin(const PluginInfo& plugin);

// What a loaded plugin offers: {"ops": [schemas], "provides": {kind: [ids]}}.
Json describe_loaded_plugin(const std::string& name);

// The process that describes a plugin: loads `required`, then `file`, and writes to `descriptor` one JSON document,
// either what describe_loaded_plugin gives or {"error": message}. Returns the exit code. Dies with its parent.
int describe_plugin_main(const std::vector<std::filesystem::path>& required, const std::filesystem::path& file,
                         int descriptor);

}  // namespace colonnade::host
