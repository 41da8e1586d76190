#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace colonnade::host {

// The bytes of a named section of a 64-bit ELF shared object for this machine, read without mapping it; nothing if it
// has no such section. Error(environment) if it is something else, or its headers point outside it. Safe on hostile
// files.
std::optional<std::string> read_elf_section(const std::filesystem::path& file, const std::string& section);

}  // namespace colonnade::host
