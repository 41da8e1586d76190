// A difference as a file on its base.
//
//   8 bytes   "colpatch"
//   1 byte    the format's version
//   1 byte    how values are stored
//   8 bytes   the structure: the beginning of SHA-256 of [architecture, configuration], canonically encoded
//   32 bytes  the base: SHA-256 of the references' names, types, shapes and bytes, in the architecture's order
//   32 bytes  SHA-256 of everything but itself
//   then for each site of the architecture, in its order, its code
#pragma once

#include <functional>
#include <string>

#include "colonnade/tensor/model.h"
#include "site_code.h"

namespace colonnade::realize {

inline constexpr const char* patch_name = "model.patch";
inline constexpr std::size_t patch_header_bytes = 8 + 1 + 1 + 8 + 32 + 32;

/// The model's adapters must be folded. Throws Error(input) where no site has a reference. `progress` is told of each
/// site.
std::string write_patch(const Model& model, const Coding& coding, const std::function<void()>& progress);

/// The model that `bytes` make of a base without adapters: the base as references, S, U and V, no masks. Throws
/// Error(input) that names `file`, and the tensor where one is damaged or missing.
Model read_patch(const Model& base, std::string_view bytes, const std::string& file);

}  // namespace colonnade::realize
