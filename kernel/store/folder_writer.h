#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "colonnade/value.h"

namespace colonnade::host {

// Writes files as a folder that is there whole or not at all: beside it under a temporary name, renamed. As with
// any copy, the system puts it on the disk in its own time; what replaces another folder is there before that goes.
// Bytes go straight from where they lie, which may be a mapping of the store. Names have passed check_file_name. Throws
// Error(environment), and Error(usage) where something is there already: a file, or a folder that is not empty unless
// `replace`, which then is exchanged for the new one in one step.
void write_folder_atomically(const std::filesystem::path& folder, const std::map<std::string, Blob>& files,
                             bool replace);

// The same refusals without writing anything, for whoever has long to compute first.
void refuse_occupied(const std::filesystem::path& folder, bool replace);

}  // namespace colonnade::host
