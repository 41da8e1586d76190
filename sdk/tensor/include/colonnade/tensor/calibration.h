#pragma once

#include <cstdint>
#include <vector>

#include "colonnade/op.h"
#include "colonnade/tensor/batch.h"

namespace colonnade {

// A little data to look at models with, for ops that need activations. `data` is a text (type "tokens") or a set of
// examples (type "examples"); what is taken is spread evenly over it and the same at every call.

// The parameters of an op that does so: `samples` and `length`.
Param samples_param(std::int64_t fall_back);  // windows of a text, or examples
Param length_param();                         // tokens in a window; without meaning for examples

// Batches of at most `at_once` samples. A text gives windows of `length` tokens with "ids" and "targets". Throws
// Error(input) on another type, or a text shorter than one window.
std::vector<Batch> calibration_batches(const Field& data, std::int64_t samples, std::int64_t length,
                                       at::ScalarType type, std::int64_t at_once = 8);
// Of an op's input, by its parameters `samples` and `length`.
std::vector<Batch> calibration_batches(const OpContext& context, const std::string& role, at::ScalarType type);

}  // namespace colonnade
