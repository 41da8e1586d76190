#pragma once

#include <filesystem>

#include "kernel/graph/keys.h"
#include "kernel/plugin/catalogue.h"
#include "kernel/store/store.h"

namespace colonnade::host {

// What keys are made of, from the catalogue (which must outlive the result). Answers are kept: a thousand keys ask for a
// plugin's code and look at a path once, and all of them mean the same contents of it.
KeySources make_key_sources(const Catalogue& catalogue, const std::filesystem::path& cache_folder);

// The same, but what a path holds is looked at whenever it is asked for.
KeySources with_paths_as_they_are(KeySources sources, const std::filesystem::path& cache_folder);

// The node's inputs as its key sees them, from their traces: `manifest_of` gives that of each input's node.
std::vector<KeyInput> key_inputs(const Node& node, const std::function<const Manifest&(const NodeRef&)>& manifest_of);

// The paths among the parameters of an op, those of recipes too.
std::vector<std::string> paths_in(const OpSchema& schema, const Json& params, const KeySources& sources);

}  // namespace colonnade::host
