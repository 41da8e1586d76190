// Sums over rows, the end of every reduction here: 32 columns a block, 8 rows at a time, added in a fixed order.
#include "element.cuh"

namespace colonnade::cuda {
namespace {

constexpr int kRows = 8;

__global__ void __launch_bounds__(kWarp* kRows) add(const float* parts, int64_t rows, int64_t columns, float* out) {
  __shared__ float shared[kRows][kWarp];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  float sum = 0;
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = threadIdx.y; row < rows; row += kRows) sum += parts[row * columns + column];
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
#pragma unroll
  for (int row = 1; row < kRows; ++row) sum += shared[row][threadIdx.x];
  out[column] = sum;
}

}  // namespace

cudaError_t sum_rows(const float* parts, int64_t rows, int64_t columns, float* out, cudaStream_t stream) {
  add<<<ceil_divide(columns, kWarp), dim3(kWarp, kRows), 0, stream>>>(parts, rows, columns, out);
  return cudaGetLastError();
}

}  // namespace colonnade::cuda
