// RMS normalisation of a sum. A block holds a row in registers, four numbers a thread and turn. Backwards a block walks
// over rows and keeps its part of the weight's gradient; the parts are added by a last, small kernel.
#include <algorithm>

#include "element.cuh"

namespace colonnade::cuda {
namespace {

constexpr int kWide = 4;
constexpr int kThreads = 256;
constexpr int kMostWarps = kThreads / kWarp;
constexpr int kMostTurns = kWidestNorm / (kWide * kThreads);

/// What of the row a thread has: numbers [column(turn), + kWide) of each turn within it.
template <int kTurns, typename Function>
__device__ void for_own_columns(int64_t width, const Function& function) {
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int64_t column = (static_cast<int64_t>(turn) * blockDim.x + threadIdx.x) * kWide;
    if (column < width) function(turn, column);
  }
}

template <typename Branch, typename Out, int kTurns>
__global__ void __launch_bounds__(kThreads) forward(const NormForward norm) {
  __shared__ float shared[kMostWarps];
  const int64_t start = blockIdx.x * norm.width;
  float x[kTurns][kWide];
  float squares = 0;
  for_own_columns<kTurns>(norm.width, [&](int turn, int64_t column) {
    read<kWide>(norm.residual + start + column, x[turn]);
    if (norm.branch.data != nullptr) {
      float branch[kWide];
      read<kWide>(static_cast<const Branch*>(norm.branch.data) + start + column, branch);
#pragma unroll
      for (int i = 0; i < kWide; ++i) x[turn][i] += branch[i];
      write<kWide>(norm.sum + start + column, x[turn]);
    }
#pragma unroll
    for (int i = 0; i < kWide; ++i) squares = fmaf(x[turn][i], x[turn][i], squares);
  });
  const float inverse = rsqrtf(block_sum(squares, shared) / static_cast<float>(norm.width) + norm.epsilon);
  for_own_columns<kTurns>(norm.width, [&](int turn, int64_t column) {
    float weight[kWide];
    read<kWide>(norm.weight + column, weight);
#pragma unroll
    for (int i = 0; i < kWide; ++i) x[turn][i] *= inverse * weight[i];
    write<kWide>(static_cast<Out*>(norm.normal.data) + start + column, x[turn]);
  });
  if (threadIdx.x == 0) norm.inverse_rms[blockIdx.x] = inverse;
}

template <typename Branch, typename Out, int kTurns>
__global__ void __launch_bounds__(kThreads) backward(const NormBackward norm) {
  __shared__ float shared[kMostWarps];
  float weight[kTurns][kWide];
  float dweight[kTurns][kWide] = {};
  for_own_columns<kTurns>(norm.width,
                          [&](int turn, int64_t column) { read<kWide>(norm.weight + column, weight[turn]); });
  for (int64_t row = blockIdx.x; row < norm.rows; row += gridDim.x) {
    const int64_t start = row * norm.width;
    float x[kTurns][kWide];
    float dy[kTurns][kWide];
    float product = 0;
    for_own_columns<kTurns>(norm.width, [&](int turn, int64_t column) {
      read<kWide>(norm.sum + start + column, x[turn]);
      read<kWide>(static_cast<const Out*>(norm.dnormal.data) + start + column, dy[turn]);
#pragma unroll
      for (int i = 0; i < kWide; ++i) product = fmaf(dy[turn][i] * weight[turn][i], x[turn][i], product);
    });
    const float inverse = norm.inverse_rms[row];
    const float along = block_sum(product, shared) * inverse * inverse * inverse / static_cast<float>(norm.width);
    for_own_columns<kTurns>(norm.width, [&](int turn, int64_t column) {
      float dx[kWide];
      float more[kWide] = {};
      if (norm.dsum != nullptr) read<kWide>(norm.dsum + start + column, more);
#pragma unroll
      for (int i = 0; i < kWide; ++i) {
        dweight[turn][i] = fmaf(dy[turn][i], x[turn][i] * inverse, dweight[turn][i]);
        dx[i] = fmaf(inverse * weight[turn][i], dy[turn][i], more[i] - along * x[turn][i]);
      }
      write<kWide>(norm.dresidual + start + column, dx);
      if (norm.dbranch.data != nullptr) write<kWide>(static_cast<Branch*>(norm.dbranch.data) + start + column, dx);
    });
  }
  for_own_columns<kTurns>(norm.width, [&](int turn, int64_t column) {
    write<kWide>(norm.parts + blockIdx.x * norm.width + column, dweight[turn]);
  });
}

int threads_for(int64_t width) {
  return static_cast<int>(std::min<int64_t>(kThreads, ceil_divide(ceil_divide(width, kWide), kWarp) * kWarp));
}

/// Calls `function` with the number of turns that a row takes, as a constant.
template <typename Function>
void with_turns(int64_t width, const Function& function) {
  const int64_t turns = ceil_divide(width, static_cast<int64_t>(kWide) * threads_for(width));
  if (turns <= 1) return function(std::integral_constant<int, 1>{});
  if (turns <= 2) return function(std::integral_constant<int, 2>{});
  if (turns <= 4) return function(std::integral_constant<int, 4>{});
  function(std::integral_constant<int, kMostTurns>{});
}

}  // namespace

cudaError_t add_rms_norm_forward(const NormForward& norm, cudaStream_t stream) {
  with_turns(norm.width, [&](auto turns) {
    with_element(norm.branch.element, [&](auto branch) {
      with_element(norm.normal.element, [&](auto out) {
        forward<typename decltype(branch)::type, typename decltype(out)::type, decltype(turns)::value>
            <<<norm.rows, threads_for(norm.width), 0, stream>>>(norm);
      });
    });
  });
  return cudaGetLastError();
}

int64_t norm_parts(int multiprocessors) {
  constexpr int64_t kBlocksPerProcessor = 6;
  return kBlocksPerProcessor * multiprocessors;
}

cudaError_t add_rms_norm_backward(const NormBackward& norm, int multiprocessors, cudaStream_t stream) {
  const int64_t blocks = std::min(norm.rows, norm_parts(multiprocessors));
  with_turns(norm.width, [&](auto turns) {
    with_element(norm.dbranch.element, [&](auto branch) {
      with_element(norm.dnormal.element, [&](auto out) {
        backward<typename decltype(branch)::type, typename decltype(out)::type, decltype(turns)::value>
            <<<blocks, threads_for(norm.width), 0, stream>>>(norm);
      });
    });
  });
  return sum_rows(norm.parts, blocks, norm.width, norm.dweight, stream);
}

}  // namespace colonnade::cuda
