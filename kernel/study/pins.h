#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "kernel/study/record.h"

namespace colonnade::host {

// Values that collecting garbage keeps although no run may reach them any more. A pin names its values' keys, so it
// outlives the run that it was made from. Each is a file of its own in the store's folder pins/.
struct Pin {
  std::string name;  // "quickstart-2026-01-31-1a2b3c4d", or that and ":NODE"
  std::set<Hash> keys;
};

// `what` is a run, or RUN:NODE for one of its nodes, both as `resolve_run` and `resolve_node` understand them.
// Error(usage) if there is no such, or nothing of it was evaluated.
Pin pin_of(const std::filesystem::path& runs, const std::string& what);

// Sorted by name. Error(environment) naming a file that is damaged: what it kept is not known.
std::vector<Pin> read_pins(const std::filesystem::path& store);
void add_pin(const std::filesystem::path& store, const Pin& pin);
// A pin may be named as it was when it was added, or by its run's id. Error(usage) with the nearest name.
Pin remove_pin(const std::filesystem::path& store, const std::filesystem::path& runs, const std::string& name);

}  // namespace colonnade::host
