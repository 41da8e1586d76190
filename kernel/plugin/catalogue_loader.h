#pragma once

#include <filesystem>
#include <vector>

#include "kernel/plugin/catalogue.h"

namespace colonnade::host {

// What a catalogue is made of: every plugin that was found, through its gates and described, and the hashes of the SDK.
struct CatalogueContents {
  std::vector<PluginInfo> plugins;  // sorted by name
  Hash sdk, tensor;                 // of the libraries; `tensor` is none without LibTorch
};
CatalogueContents load_contents(const PluginPaths& paths, const std::filesystem::path& cache_folder);

}  // namespace colonnade::host
