#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace colonnade::host {

// What a plugin file says of itself in its section "colonnade_stamp", as key=value lines.
struct Stamp {
  std::string name, version;
  int abi = 0;
  std::string abi_type;   // "cpp"
  std::string torch;      // "2.11.0+cu130" or "none"
  std::string compiler;   // "gcc-12"
  std::string standard;   // "202002L"
  std::string cxx11_abi;  // "1"
  std::vector<std::string> requires_plugins, extends_plugins;
};

// Reads the section without loading or mapping the file as code. Error(environment) if the file is no 64-bit ELF shared object,
// is truncated, or has no stamp; safe on hostile files.
Stamp read_stamp(const std::filesystem::path& file);

// Every way in which the stamp does not fit this host, one sentence each with both sides and the fix; empty if it fits.
std::vector<std::string> mismatches(const Stamp& stamp, const std::filesystem::path& file);

}  // namespace colonnade::host
