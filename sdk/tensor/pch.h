#pragma once

// What nearly every file with tensors includes, compiled once. Files still include what they use: the tree builds the same
// without this header. Loading it costs time in proportion to its size, so what few files need (autograd) stays out.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>
