#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "kernel/store/store.h"
#include "kernel/study/record.h"

namespace colonnade::host {

// Where files lie has no place in a report, which is the same on every machine: names stand for places there.

// A message without absolute paths: those that `node` was given, and what lies below them, under the last name of what
// was given; others under their own last name.
std::string without_places(const std::string& message, const NodeRecord* node);

// The last names of what the nodes' path parameters named, by the content's hash as keys have it.
std::map<std::string, std::set<std::string>> names_of_contents(const RunHistory& history, const Store& store);

}  // namespace colonnade::host
