#pragma once

#include <filesystem>

#include "colonnade/op.h"
#include "colonnade/tensor/model.h"
#include "site_code.h"

namespace colonnade::realize {

Value stored(OpContext& context);
Value rounded(OpContext& context);
Value patch(OpContext& context);
Value apply_patch(OpContext& context);
Value timings(OpContext& context);
Value realize(OpContext& context);
Value compact(OpContext& context);
Value load(OpContext& context);
Value hf(OpContext& context);
double usual_shard_bytes();

/// The parameters `values` and `positions`.
Coding coding_of(const OpContext& context);
/// Bytes as the content of a file, without a copy.
Blob as_file(std::string bytes);
/// Throws Error(input) naming the file.
std::string read_whole(const std::filesystem::path& file);
/// The model with what its adapters do written into its weights.
Model folded(const Model& model);

}  // namespace colonnade::realize
