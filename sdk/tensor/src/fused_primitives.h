// The primitives behind fused_ops.h as functions: each calls what the dispatcher has for the tensors' device.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace colonnade {

using OptionalTensor = std::optional<at::Tensor>;

struct FusedPrimitives {
  using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
  // (sum, normal, 1 / rms [rows]); the sum is empty where there is no branch.
  static Three add_rms_norm_forward(const at::Tensor& residual, const OptionalTensor& branch, const at::Tensor& weight,
                                    double epsilon, at::ScalarType type);
  // (d residual, d branch in its type or empty where none is named, d weight).
  static Three add_rms_norm_backward(const at::Tensor& dnormal, const OptionalTensor& dsum, const at::Tensor& sum,
                                     const at::Tensor& weight, const at::Tensor& inverse_rms,
                                     std::optional<at::ScalarType> branch_type);
  static at::Tensor causal_conv1d_forward(const at::Tensor& x, const at::Tensor& taps, const OptionalTensor& bias);
  // (dx, dtaps, dbias; the last is empty without a bias).
  static Three causal_conv1d_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& taps,
                                      const OptionalTensor& bias);
  // Losses [rows] fp32; logits [rows, V] become (softmax - one hot) * scale, rows that are not scored 0. scale: [1]
  // fp32.
  static at::Tensor cross_entropy_gradient_(at::Tensor& logits, const at::Tensor& targets, const at::Tensor& scale);
};

}  // namespace colonnade
