// What a patch file has around the codes of its sites.
//
//   8 bytes   "colpatch"
//   1 byte    the format's version
//   1 byte    how values are stored
//   32 bytes  the base: SHA-256 over its tensors' names, types, shapes and bytes, in the architecture's order
//   32 bytes  SHA-256 of everything after this
//   then for each site of the architecture, in its order, its code
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace colonnade::realize {

inline constexpr std::string_view patch_magic = "colpatch";
inline constexpr std::uint8_t patch_version = 1;
inline constexpr std::size_t hash_bytes_in_patch = 32;
inline constexpr std::size_t patch_header_bytes = 8 + 1 + 1 + 2 * hash_bytes_in_patch;

}  // namespace colonnade::realize
