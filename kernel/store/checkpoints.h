#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "kernel/store/mapping.h"
#include "kernel/store/store.h"

// The saved state of a long op as one file:
//   0  "CLNCHKP1"   8  SHA-256 of what follows, 32 bytes   40 key, 32 bytes   72 size of the description, 8 bytes
//   80 the description, canonically encoded: fields with documents, and dtype, shape and offset of each tensor
// then the tensors, each at a multiple of 64 from the start of the file.
namespace colonnade::host {

void write_checkpoint(const std::filesystem::path& file, const std::filesystem::path& temporary_folder, const Hash& key,
                      const Value& state);

// Nothing if it is missing, damaged or another key's. Tensors lie in the mapped file.
std::optional<Value> read_checkpoint(const std::filesystem::path& file, const Hash& key,
                                     const std::shared_ptr<MappedRanges>& ranges);

}  // namespace colonnade::host
