// What the passes' launchers share: where a lane's states lie, segments and their chaining, passes of 16 states.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "scan_device.cuh"

namespace colonnade::mamba_cuda {

__host__ __device__ constexpr int64_t ceil_divide(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
__host__ __device__ constexpr int64_t boundary_count(int64_t length) {
  return ceil_divide(length, kBoundary);
}

/// The four states of a channel that a lane holds, in global memory.
struct ChannelStates {
  const Pass& pass;
  int64_t batch;
  int64_t channel;
  int lane;

  __device__ bool inside() const { return channel < pass.scan.channels && lane * kLaneStates < pass.states; }

  /// A log2(e), so that exp(delta A) is a power of two. Zero where there is no such state.
  __device__ void decays(float (&a)[kLaneStates]) const {
#pragma unroll
    for (int k = 0; k < kLaneStates; ++k) {
      const int state = lane * kLaneStates + k;
      const bool valid = channel < pass.scan.channels && state < pass.states;
      a[k] = valid ? pass.scan.a[channel * pass.scan.states + state] * kLog2e : 0.f;
    }
  }

  /// From or to [B, D, N]; null reads zeros.
  __device__ void read(const float* states, float (&h)[kLaneStates]) const {
#pragma unroll
    for (int k = 0; k < kLaneStates; ++k) {
      const int state = lane * kLaneStates + k;
      const bool valid = states != nullptr && channel < pass.scan.channels && state < pass.states;
      h[k] = valid ? states[(batch * pass.scan.channels + channel) * pass.scan.states + state] : 0.f;
    }
  }
  __device__ void write(float* states, const float (&h)[kLaneStates]) const {
    if (channel >= pass.scan.channels) return;
#pragma unroll
    for (int k = 0; k < kLaneStates; ++k) {
      const int state = lane * kLaneStates + k;
      if (state < pass.states) states[(batch * pass.scan.channels + channel) * pass.scan.states + state] = h[k];
    }
  }

  /// From or to row `index` of [*, D, 16].
  __device__ void read_padded(const float* states, int64_t index, float (&h)[kLaneStates]) const {
    float4 value = make_float4(0.f, 0.f, 0.f, 0.f);
    if (channel < pass.scan.channels) value = *reinterpret_cast<const float4*>(states + padded(index));
    h[0] = value.x;
    h[1] = value.y;
    h[2] = value.z;
    h[3] = value.w;
  }
  __device__ void write_padded(float* states, int64_t index, const float (&h)[kLaneStates]) const {
    if (channel >= pass.scan.channels) return;
    *reinterpret_cast<float4*>(states + padded(index)) = make_float4(h[0], h[1], h[2], h[3]);
  }
  __device__ int64_t padded(int64_t index) const {
    return (index * pass.scan.channels + channel) * kStates + lane * kLaneStates;
  }
};

/// Four entries of a [D] vector from `column`, `count` of which exist; zeros where there is no vector.
__device__ inline void read_vector(const float* vector, int64_t column, int count, float (&out)[kWide]) {
#pragma unroll
  for (int k = 0; k < kWide; ++k) out[k] = vector != nullptr && k < count ? vector[column + k] : 0.f;
}

/// Whether four neighbouring elements of every row lie aligned.
inline bool is_wide(const Sequence& sequence, Element element) {
  const int64_t bytes = kWide * (element == Element::float32 ? 4 : 2);
  return reinterpret_cast<uintptr_t>(sequence.data) % bytes == 0 && sequence.batch_stride % kWide == 0 &&
         sequence.time_stride % kWide == 0;
}

enum class Direction { forward, backward };

/// Turns what each segment adds ([B, segments, D, 16], overwritten) into what enters it: from the left beginning with
/// `start` ([B, D, N] or null), or from the right. `leaving` ([B, D, N] or null) receives what leaves the last one, whose own
/// addition is not read where it is null.
void chain_segments(const Pass& pass, const float* start, float* states, const float* decays, Direction direction,
                    float* leaving, cudaStream_t stream);

/// Scratch memory in pieces of floats, each 256-byte aligned.
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<char*>(base)) {}
  float* take(int64_t floats) {
    constexpr size_t kAlignment = 256;
    float* const out = base_ == nullptr || floats == 0 ? nullptr : reinterpret_cast<float*>(base_ + bytes_);
    bytes_ += (static_cast<size_t>(floats) * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
    return out;
  }
  size_t bytes() const { return bytes_; }

 private:
  char* base_;
  size_t bytes_ = 0;
};

inline int64_t pass_count(const Scan& scan) {
  return ceil_divide(scan.states, kStates);
}

/// Steps of a segment, whole tiles.
inline int segment_steps(const Scan& scan, int segments, int tile) {
  return static_cast<int>(ceil_divide(ceil_divide(scan.length, segments), tile) * tile);
}

/// As many segments of whole tiles as come to at most `wanted`, none of them empty.
inline int whole_segments(const Scan& scan, int64_t wanted, int tile) {
  return static_cast<int>(ceil_divide(scan.length, segment_steps(scan, static_cast<int>(wanted), tile)));
}

inline int64_t element_size(Element element) {
  return element == Element::float32 ? 4 : 2;
}

/// Calls run(pass, index) for each 16 states, its pointers moved to them, until one fails. `sequences` are all those of
/// D elements a step.
template <typename Run>
cudaError_t for_each_pass(const Scan& scan, std::initializer_list<const Sequence*> sequences, int segments, int tile,
                          const Run& run) {
  const int64_t passes = pass_count(scan);
  for (int64_t i = 0; i < passes; ++i) {
    Pass pass;
    pass.scan = scan;
    pass.states = static_cast<int>(scan.states - i * kStates < kStates ? scan.states - i * kStates : kStates);
    pass.segments = segments;
    pass.segment_steps = segment_steps(scan, segments, tile);
    pass.first = i == 0;
    pass.last = i == passes - 1;
    const int64_t offset = i * kStates;
    pass.scan.a += offset;
    if (pass.scan.h0 != nullptr) pass.scan.h0 += offset;
    pass.scan.b.data = static_cast<char*>(scan.b.data) + offset * element_size(scan.element);
    pass.scan.c.data = static_cast<char*>(scan.c.data) + offset * element_size(scan.element);
    pass.wide = scan.channels % kWide == 0;
    for (const Sequence* sequence : sequences) pass.wide = pass.wide && is_wide(*sequence, scan.element);
    pass.wide_states =
        pass.states == kStates && is_wide(pass.scan.b, scan.element) && is_wide(pass.scan.c, scan.element);
    const cudaError_t error = run(pass, static_cast<int>(i));
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

template <typename T>
struct ElementType {
  using type = T;
};

/// Calls run(ElementType<T>, zoh as a constant) for the scan's element type and discretization.
template <typename Run>
cudaError_t dispatch(const Scan& scan, const Run& run) {
  const auto with_type = [&](auto element) {
    return scan.zoh ? run(element, std::true_type{}) : run(element, std::false_type{});
  };
  switch (scan.element) {
    case Element::float32:
      return with_type(ElementType<float>{});
    case Element::float16:
      return with_type(ElementType<__half>{});
    case Element::bfloat16:
      return with_type(ElementType<__nv_bfloat16>{});
  }
  return cudaErrorInvalidValue;
}

}  // namespace colonnade::mamba_cuda
