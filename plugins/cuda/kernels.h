// The kernels as functions on device pointers: no LibTorch. What they compute is defined, in tensor ops, by the
// primitives of the tensor SDK that they stand in for. Sums are taken in a fixed order: the same bits in every run on
// the same kind of card. Each returns the first error of a launch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace colonnade::cuda {

enum class Element { float32, float16, bfloat16 };

/// Numbers of some element type.
struct Array {
  void* data = nullptr;
  Element element = Element::float32;
};

/// sum = residual + branch and normal = sum / rms(sum) weight, rows of `width` numbers, a multiple of 4 up to
/// kWidestNorm. Without a branch the sum is the residual and is not written.
constexpr int64_t kWidestNorm = 8192;
struct NormForward {
  int64_t rows = 0, width = 0;
  float epsilon = 0;
  const float* residual = nullptr;
  Array branch;
  const float* weight = nullptr;
  float* sum = nullptr;
  Array normal;
  float* inverse_rms = nullptr;
};
cudaError_t add_rms_norm_forward(const NormForward& norm, cudaStream_t stream);

struct NormBackward {
  int64_t rows = 0, width = 0;
  Array dnormal;
  const float* dsum = nullptr;  // null: nothing else read the sum
  const float* sum = nullptr;
  const float* weight = nullptr;
  const float* inverse_rms = nullptr;
  float* dresidual = nullptr;
  Array dbranch;  // null data: not wanted
  float* dweight = nullptr;
  float* parts = nullptr;  // norm_parts(multiprocessors) rows of `width`
};
int64_t norm_parts(int multiprocessors);
cudaError_t add_rms_norm_backward(const NormBackward& norm, int multiprocessors, cudaStream_t stream);

/// silu of a causal depthwise convolution along time: x [B, L, D] with a dense last dimension, taps [D, width], bias
/// [D] or null, y dense.
constexpr int kWidestConvolution = 8;
struct Convolution {
  int64_t batch = 0, length = 0, channels = 0;
  int width = 0;
  Element element = Element::float32;
  const void* x = nullptr;
  int64_t x_batch_stride = 0, x_time_stride = 0;
  const float* taps = nullptr;
  const float* bias = nullptr;
};
cudaError_t convolution_forward(const Convolution& of, void* y, cudaStream_t stream);

struct ConvolutionGradients {
  void* dx = nullptr;      // dense
  float* sums = nullptr;   // [width + 1, D]: of each tap, then of the bias
  float* parts = nullptr;  // convolution_parts(of) times (width + 1) D
};
int64_t convolution_parts(const Convolution& of);
cudaError_t convolution_backward(const Convolution& of, const void* dy, const ConvolutionGradients& out,
                                 cudaStream_t stream);

/// Rows of logits [rows, width] become (softmax - one hot) scale, their losses [rows] are written; rows whose target is
/// negative are not scored.
struct CrossEntropy {
  int64_t rows = 0, width = 0;
  Array logits;
  const int64_t* targets = nullptr;
  const float* scale = nullptr;  // one number on the device
  float* losses = nullptr;
};
cudaError_t cross_entropy_gradient(const CrossEntropy& of, cudaStream_t stream);

/// out[column] = sum over rows of parts [rows, columns].
cudaError_t sum_rows(const float* parts, int64_t rows, int64_t columns, float* out, cudaStream_t stream);

}  // namespace colonnade::cuda
