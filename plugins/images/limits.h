#pragma once

#include <cstdint>

namespace colonnade::images {

/// Throws Error(input) for a picture of no pixels or of more than 2^28: a few bytes can announce any size.
void require_reasonable(std::int64_t width, std::int64_t height);

}  // namespace colonnade::images
