#pragma once

#include <set>

#include "colonnade/hash.h"
#include "kernel/store/project.h"

namespace colonnade::host {

// Keys of values that are never dropped to keep a store within its quota: what runs report (metrics, files, shared
// values), what adaptive arms were answered, and what is pinned. The models that arms end in are not among them, unless
// pinned: those that were slow to compute stay anyway, and the others are made again when they are exported.
std::set<Hash> keys_to_keep(const Project& project);

}  // namespace colonnade::host
