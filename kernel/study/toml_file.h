#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "colonnade/json.h"

namespace colonnade::host {

// A TOML file as a document, with the line of every leaf.
struct TomlFile {
  Json values = Json::object();
  std::map<std::string, int> lines;  // dotted name -> line
};

// Error(usage) "FILE:LINE: what" on a syntax error or a value that no setting can be (a date, not a number).
TomlFile read_toml(const std::filesystem::path& file);

// What stands behind "=" in --set: by TOML's syntax, or else the text itself.
Json value_from_text(const std::string& text);

}  // namespace colonnade::host
