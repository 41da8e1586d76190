// Element types: conversions from and to float, several neighbours at a time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels.h"

namespace colonnade::cuda {

template <typename T>
struct TypeTag {
  using type = T;
};

/// Calls `function` with the tag of the element's type.
template <typename Function>
auto with_element(Element element, const Function& function) {
  switch (element) {
    case Element::float16:
      return function(TypeTag<__half>{});
    case Element::bfloat16:
      return function(TypeTag<__nv_bfloat16>{});
    default:
      return function(TypeTag<float>{});
  }
}

/// Neighbours that are read and written at once.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T at[kCount];
};

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(__half x) {
  return __half2float(x);
}
__device__ inline float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

template <typename T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

template <int kCount, typename T>
__device__ inline void read(const T* from, float (&out)[kCount]) {
  const Pack<T, kCount> pack = *reinterpret_cast<const Pack<T, kCount>*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) out[i] = to_float(pack.at[i]);
}

template <int kCount, typename T>
__device__ inline void write(T* to, const float (&values)[kCount]) {
  Pack<T, kCount> pack;
#pragma unroll
  for (int i = 0; i < kCount; ++i) pack.at[i] = from_float<T>(values[i]);
  *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
}

inline bool is_aligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

inline int64_t ceil_divide(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

constexpr int kWarp = 32;

/// The sum of `value` over the block, to every thread, always in the same order. `shared` holds a number a warp.
__device__ inline float block_sum(float value, float* shared) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffff, value, offset);
  __syncthreads();  // whoever still reads what was there before
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0;
  const int warps = blockDim.x / kWarp;
  for (int warp = 0; warp < warps; ++warp) sum += shared[warp];
  return sum;
}

}  // namespace colonnade::cuda
