// Reads safetensors files: eight bytes of header length, a JSON header, and the tensors' bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "colonnade/tensor/tensor.h"

namespace colonnade {

struct SafetensorsEntry {
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // in the file
};

/// The header of one file, checked: every tensor has the size its type and shape ask for, and together they fill the
/// rest of the file, each byte once.
struct SafetensorsFile {
  std::string path;
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
};

/// Throws Error(input) naming the file, and the tensor where one is to blame.
SafetensorsFile open_safetensors(const std::string& path);

/// The tensor in memory of its own. Throws Error(input) if the file has none of this name or can no longer be read.
Tensor read_tensor(const SafetensorsFile& file, const std::string& name);

/// "[48, 1, 4]"
std::string shape_text(at::IntArrayRef shape);

}  // namespace colonnade
