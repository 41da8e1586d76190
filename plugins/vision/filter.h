// Some of a set of examples.
#pragma once

#include <cstdint>
#include <vector>

#include "colonnade/tensor/examples.h"

namespace colonnade::vision {

/// Of examples with these scores those above `above`, at most `best` of them, the highest; of equal ones the first. In
/// their order.
std::vector<std::int64_t> highest(const std::vector<double>& scores, double above, std::int64_t best);

/// The chosen examples alone: rows that none of them takes are left out, so that a picture nothing speaks of goes.
Examples subset(const Examples& data, const std::vector<std::int64_t>& chosen);

}  // namespace colonnade::vision
