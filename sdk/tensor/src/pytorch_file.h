#pragma once

#include <memory>
#include <string>

#include "colonnade/tensor/weight_files.h"

namespace colonnade {

/// PyTorch's archive: a zip file of a pickle and of the tensors' bytes.
std::unique_ptr<WeightFile> open_pytorch_file(const std::string& path);

}  // namespace colonnade
