#pragma once

#include <filesystem>
#include <lua.hpp>
#include <string>

namespace colonnade::host {

// The script library: COLONNADE_SCRIPTS, or ../share/colonnade/scripts beside the executable.
std::filesystem::path scripts_folder();

// `require`: "colonnade" is the host's module, "colonnade.NAME" a file of the script library, any other dotted name a
// file in the study's folder. Nothing else can be reached. Each file runs once and is noted among the study's sources.
int require_module(lua_State* L);

// The text of a file of the study or the library; Error(usage) if it cannot be read.
std::string read_script(const std::filesystem::path& file);

}  // namespace colonnade::host
