// What the scan's kernels share: elements, exponentials, the layout of a block.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "scan_cuda.h"

namespace colonnade::mamba_cuda {

// A channel's 16 states are held by four neighbouring lanes, four states each; more states are passes of 16.
inline constexpr int kStates = 16;
inline constexpr int kLanes = 4;
inline constexpr int kLaneStates = kStates / kLanes;
/// Steps from one state saved for the backward pass to the next.
inline constexpr int kBoundary = 16;
/// A decay below this is taken for none: what lies behind it is 2^60 times smaller than what lies before.
inline constexpr float kNegligible = 0x1p-60f;
inline constexpr float kLog2e = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;
/// Neighbouring elements a thread moves at once.
inline constexpr int kWide = 4;

/// One pass of up to 16 states over a scan. Pointers to A, states and B, C are those of the pass's first state.
struct Pass {
  Scan scan;
  int states = 0;         // of this pass
  int segments = 1;       // parts of the sequence that run side by side
  int segment_steps = 0;  // steps of a segment, a multiple of the tiles
  bool first = true;      // of the passes; what the earlier ones summed is read by later ones from `sums`
  bool last = true;
  bool wide = false;         // rows of the sequences of D elements can be read four elements at a time
  bool wide_states = false;  // likewise those of B and C
};

/// 2^z by the special function unit: 2 units in the last place, subnormal results are 0.
__device__ inline float exp2_fast(float z) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(z));
  return out;
}

/// log(1 + e) for e in [0, 1]: e times a polynomial of degree 9 (Chebyshev's fit of the quotient), relative error below
/// 1.7e-7.
__device__ inline float log1p_unit(float e) {
  float sum = -0.003163999412208796f;
  sum = fmaf(sum, e, 0.01948768645524979f);
  sum = fmaf(sum, e, -0.05626952648162842f);
  sum = fmaf(sum, e, 0.10532950609922409f);
  sum = fmaf(sum, e, -0.15263274312019348f);
  sum = fmaf(sum, e, 0.19661018252372742f);
  sum = fmaf(sum, e, -0.24951167404651642f);
  sum = fmaf(sum, e, 0.33329665660858154f);
  sum = fmaf(sum, e, -0.49999889731407166f);
  return e * fmaf(sum, e, 1.f);
}

/// 1/v by the special function unit: 1 unit in the last place.
__device__ inline float reciprocal(float v) {
  float out;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(v));
  return out;
}

/// 1/(1 + exp(-v)): 0 where exp(-v) overflows.
__device__ inline float sigmoid(float v) {
  return reciprocal(1.f + exp2_fast(-v * kLog2e));
}

/// log(1 + exp(v)) without cancellation for any v. In float32 it is v itself above 20.
__device__ inline float softplus(float v) {
  return fmaxf(v, 0.f) + log1p_unit(exp2_fast(-fabsf(v) * kLog2e));
}

/// softplus and its slope, which is sigmoid(v), from one exponential.
__device__ inline void softplus_with_slope(float v, float& value, float& slope) {
  const float e = exp2_fast(-fabsf(v) * kLog2e);
  const float inverse = reciprocal(1.f + e);
  value = fmaxf(v, 0.f) + log1p_unit(e);
  slope = v >= 0.f ? inverse : e * inverse;
}

/// (exp(z) - 1)/z: by its series where the difference would cancel.
__device__ inline float held_ratio(float decay, float z) {
  constexpr float kSeries = 0.25f;
  if (fabsf(z) < kSeries) {
    return 1.f + z * (1.f / 2 + z * (1.f / 6 + z * (1.f / 24 + z * (1.f / 120 + z * (1.f / 720 + z * (1.f / 5040))))));
  }
  return __fdividef(decay - 1.f, z);
}

/// d/dz of held_ratio.
__device__ inline float held_ratio_slope(float decay, float ratio, float z) {
  constexpr float kSeries = 0.5f;
  if (fabsf(z) < kSeries) {
    return 1.f / 2 + z * (1.f / 3 + z * (1.f / 8 + z * (1.f / 30 + z * (1.f / 144 + z * (1.f / 840 + z / 5760)))));
  }
  return __fdividef(decay - ratio, z);
}

/// Four neighbouring elements, as they lie in memory.
template <typename T>
using Quad = std::conditional_t<sizeof(T) == 4, uint4, uint2>;

template <typename T>
__device__ inline Quad<T> zeros() {
  if constexpr (sizeof(T) == 4) {
    return make_uint4(0, 0, 0, 0);
  } else {
    return make_uint2(0, 0);
  }
}

template <typename T>
__device__ inline void to_floats(const Quad<T>& in, float (&out)[kWide]) {
  if constexpr (std::is_same_v<T, float>) {
    out[0] = __uint_as_float(in.x);
    out[1] = __uint_as_float(in.y);
    out[2] = __uint_as_float(in.z);
    out[3] = __uint_as_float(in.w);
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    // A bfloat16 is the upper half of a float.
    out[0] = __uint_as_float(in.x << 16);
    out[1] = __uint_as_float(in.x & 0xffff0000u);
    out[2] = __uint_as_float(in.y << 16);
    out[3] = __uint_as_float(in.y & 0xffff0000u);
  } else {
    const float2 low = __half22float2(*reinterpret_cast<const __half2*>(&in.x));
    const float2 high = __half22float2(*reinterpret_cast<const __half2*>(&in.y));
    out[0] = low.x;
    out[1] = low.y;
    out[2] = high.x;
    out[3] = high.y;
  }
}

template <typename T>
__device__ inline Quad<T> from_floats(const float (&in)[kWide]) {
  Quad<T> out;
  if constexpr (std::is_same_v<T, float>) {
    out = make_uint4(__float_as_uint(in[0]), __float_as_uint(in[1]), __float_as_uint(in[2]), __float_as_uint(in[3]));
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    *reinterpret_cast<__nv_bfloat162*>(&out.x) = __floats2bfloat162_rn(in[0], in[1]);
    *reinterpret_cast<__nv_bfloat162*>(&out.y) = __floats2bfloat162_rn(in[2], in[3]);
  } else {
    *reinterpret_cast<__half2*>(&out.x) = __floats2half2_rn(in[0], in[1]);
    *reinterpret_cast<__half2*>(&out.y) = __floats2half2_rn(in[2], in[3]);
  }
  return out;
}

/// The first `count` of four elements at `from`, else zeros; in one access where all are there and aligned (`wide`).
template <typename T>
__device__ inline Quad<T> load_quad(const T* from, int count, bool wide) {
  Quad<T> out = zeros<T>();
  if (wide) {
    if (count > 0) out = *reinterpret_cast<const Quad<T>*>(from);
  } else {
    T* const elements = reinterpret_cast<T*>(&out);
#pragma unroll
    for (int k = 0; k < kWide; ++k) {
      if (k < count) elements[k] = from[k];
    }
  }
  return out;
}

template <typename T>
__device__ inline void store_quad(T* to, const Quad<T>& in, int count, bool wide) {
  if (wide) {
    if (count > 0) *reinterpret_cast<Quad<T>*>(to) = in;
  } else {
    const T* const elements = reinterpret_cast<const T*>(&in);
#pragma unroll
    for (int k = 0; k < kWide; ++k) {
      if (k < count) to[k] = elements[k];
    }
  }
}

/// Has memory that is read soon brought into the second-level cache.
__device__ inline void touch(const void* at) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
}

/// The step sizes of four raw ones.
__device__ inline void step_sizes(const float (&raw)[kWide], bool with_softplus, float (&delta)[kWide]) {
  if (with_softplus) {
#pragma unroll
    for (int k = 0; k < kWide; ++k) delta[k] = softplus(raw[k]);
  } else {
#pragma unroll
    for (int k = 0; k < kWide; ++k) delta[k] = raw[k];
  }
}

__device__ inline void unpack(const float4& in, float (&out)[kLaneStates]) {
  out[0] = in.x;
  out[1] = in.y;
  out[2] = in.z;
  out[3] = in.w;
}

/// Where a thread reads or writes a sequence; never used of an absent one.
template <typename T>
struct Cursor {
  T* at = nullptr;
  int64_t stride = 0;  // of a step

  __device__ Cursor(const Sequence& sequence, int64_t batch, int64_t step, int64_t column)
      : at(static_cast<T*>(sequence.data) + batch * sequence.batch_stride + step * sequence.time_stride + column),
        stride(sequence.time_stride) {}
  __device__ void move(int steps) { at += steps * stride; }
};

/// A warp has eight channels. The threads of one lane are neighbours: what they read of B and C is the same four
/// numbers, which shared memory gives to all of them at once.
inline constexpr int kWarp = 32;
inline constexpr int kWarpChannels = kWarp / kLanes;
__device__ inline int own_lane() {
  return threadIdx.x % kWarp / kWarpChannels;
}
__device__ inline int own_warp_channel() {
  return threadIdx.x % kWarpChannels;
}
__device__ inline int own_channel() {
  return threadIdx.x / kWarp * kWarpChannels + own_warp_channel();
}

/// Sums four values over the four lanes of a channel; lane i receives the total of values[i].
__device__ inline float sum_over_lanes(const float (&values)[4], int lane) {
  constexpr unsigned kAll = 0xffffffffu;
  const bool upper = lane & 2;
  const float keep0 = upper ? values[2] : values[0];
  const float keep1 = upper ? values[3] : values[1];
  const float send0 = upper ? values[0] : values[2];
  const float send1 = upper ? values[1] : values[3];
  const float half0 = keep0 + __shfl_xor_sync(kAll, send0, 2 * kWarpChannels);
  const float half1 = keep1 + __shfl_xor_sync(kAll, send1, 2 * kWarpChannels);
  const bool odd = lane & 1;
  const float keep = odd ? half1 : half0;
  const float send = odd ? half0 : half1;
  return keep + __shfl_xor_sync(kAll, send, kWarpChannels);
}

}  // namespace colonnade::mamba_cuda
