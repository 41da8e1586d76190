// The sizes and options of a Mamba language model, and the document that carries them in a model's value.
#pragma once

#include <cstdint>
#include <string>

#include "colonnade/blob.h"
#include "colonnade/json.h"
#include "scan_op.h"

namespace colonnade::mamba {

struct Configuration {
  std::int64_t d_model = 0;
  std::int64_t layers = 0;
  std::int64_t d_state = 16;
  std::int64_t expand = 2;
  std::int64_t conv_width = 4;
  std::int64_t dt_rank = 0;
  std::int64_t vocabulary = 256;
  bool use_bias = false;  // of in_proj and out_proj
  bool conv_bias = true;
  double norm_epsilon = 1e-5;
  Discretization discretization = Discretization::mamba;
  bool fused = true;  // the scan's kernels, else its loop in tensor ops
  DType dtype = DType::f32;  // of the weights; f64 is computed in f64, all else in f32

  std::int64_t d_inner() const { return expand * d_model; }
};

/// The default rank of the step's projection, ceil(d_model / 16).
std::int64_t default_dt_rank(std::int64_t d_model);

Json to_json(const Configuration& configuration);
/// Throws Error(input) naming the entry that is missing or has another type.
Configuration configuration_from(const Json& document);

}  // namespace colonnade::mamba
