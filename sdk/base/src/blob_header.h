#pragma once

#include <string>
#include <vector>

#include "colonnade/blob.h"

namespace colonnade {

// What is hashed before a blob's bytes: encode([dtype name, shape...]).
std::string blob_hash_header(DType dtype, const std::vector<std::int64_t>& shape);

}  // namespace colonnade
