// Cross entropy with its gradient in place of the logits: a block a row, read once for the largest and the sum, once
// more (from the cache) for the gradient.
#include <cfloat>

#include "element.cuh"

namespace colonnade::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;
constexpr float kLog2E = 1.4426950408889634f;

/// The largest of some numbers, and the sum of e^(number - largest).
struct Mass {
  float largest = -FLT_MAX;
  float sum = 0.f;
};

__device__ inline Mass joined(const Mass& a, const Mass& b) {
  const float largest = fmaxf(a.largest, b.largest);
  return {largest, a.sum * exp2f((a.largest - largest) * kLog2E) + b.sum * exp2f((b.largest - largest) * kLog2E)};
}

__device__ Mass block_mass(Mass mass, Mass* shared) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Mass other{__shfl_xor_sync(0xffffffff, mass.largest, offset), __shfl_xor_sync(0xffffffff, mass.sum, offset)};
    mass = joined(mass, other);
  }
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = mass;
  __syncthreads();
  mass = shared[0];
  for (int warp = 1; warp < kWarps; ++warp) mass = joined(mass, shared[warp]);
  return mass;
}

template <typename T, int kWide>
__global__ void __launch_bounds__(kThreads) gradient(const CrossEntropy of) {
  __shared__ Mass shared[kWarps];
  const int64_t row = blockIdx.x;
  T* const logits = static_cast<T*>(of.logits.data) + row * of.width;
  const int64_t target = of.targets[row];
  Mass mass;
  if (target >= 0) {
    for (int64_t column = threadIdx.x * kWide; column < of.width; column += kThreads * kWide) {
      float x[kWide];
      read<kWide>(logits + column, x);
      Mass own;
#pragma unroll
      for (int i = 0; i < kWide; ++i) own.largest = fmaxf(own.largest, x[i]);
#pragma unroll
      for (int i = 0; i < kWide; ++i) own.sum += exp2f((x[i] - own.largest) * kLog2E);
      mass = joined(mass, own);
    }
  }
  const float wanted = target >= 0 && target < of.width ? to_float(logits[target]) : 0.f;
  mass = block_mass(mass, shared);  // no logit is written before every thread is here
  const float scale = target >= 0 ? *of.scale : 0.f;
  const float shift = mass.largest * kLog2E + log2f(mass.sum);
  for (int64_t column = threadIdx.x * kWide; column < of.width; column += kThreads * kWide) {
    float x[kWide];
    read<kWide>(logits + column, x);
#pragma unroll
    for (int i = 0; i < kWide; ++i) {
      const float p = target >= 0 ? exp2f(fmaf(x[i], kLog2E, -shift)) : 0.f;
      x[i] = (p - (column + i == target ? 1.f : 0.f)) * scale;
    }
    write<kWide>(logits + column, x);
  }
  if (threadIdx.x == 0) of.losses[row] = target >= 0 ? shift / kLog2E - wanted : 0.f;
}

}  // namespace

cudaError_t cross_entropy_gradient(const CrossEntropy& of, cudaStream_t stream) {
  with_element(of.logits.element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kWide = 16 / sizeof(T);
    if (of.width % kWide == 0 && is_aligned(of.logits.data, 16)) {
      gradient<T, kWide><<<of.rows, kThreads, 0, stream>>>(of);
    } else {
      gradient<T, 1><<<of.rows, kThreads, 0, stream>>>(of);
    }
  });
  return cudaGetLastError();
}

}  // namespace colonnade::cuda
