// The causal depthwise convolution and its silu. A thread owns neighbouring channels and walks through a stretch of
// time with the last inputs in registers; backwards it computes what silu was given again, keeps the last gradients
// too, and its part of the taps' gradients.
#include <algorithm>

#include "element.cuh"

namespace colonnade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kForwardSteps = 32;
constexpr int kMostSteps = 64;  // of a thread, backwards
constexpr int kFewestSteps = 16;
constexpr int64_t kEnoughThreads = 160'000;  // to keep a large card's memory busy
constexpr int kAhead = 4;                    // steps whose inputs are read together

__device__ inline float sigmoid(float x) {
  return 1.f / (1.f + __expf(-x));
}

/// What a thread owns.
struct Place {
  int64_t channel;
  int64_t batch;
  int64_t begin;
};

template <int kWide>
__device__ Place own_place(int steps) {
  return {(static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kWide, blockIdx.z,
          static_cast<int64_t>(blockIdx.y) * steps};
}

template <int kWidth, int kWide>
struct Taps {
  float at[kWidth][kWide];
  float bias[kWide];

  __device__ Taps(const Convolution& of, int64_t channel) {
#pragma unroll
    for (int i = 0; i < kWide; ++i) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) at[k][i] = of.taps[(channel + i) * kWidth + k];
      bias[i] = of.bias == nullptr ? 0.f : of.bias[channel + i];
    }
  }
};

/// The last inputs, or gradients, of a few channels: at[kWidth - 1] is the newest.
template <int kWidth, int kWide>
struct Window {
  float at[kWidth][kWide] = {};

  __device__ void push(const float (&next)[kWide]) {
#pragma unroll
    for (int i = 0; i < kWide; ++i) {
#pragma unroll
      for (int k = 0; k + 1 < kWidth; ++k) at[k][i] = at[k + 1][i];
      at[kWidth - 1][i] = next[i];
    }
  }
};

template <typename T, int kWide>
__device__ void read_step(const T* from, int64_t stride, int64_t step, int64_t length, float (&out)[kWide]) {
  if (step >= 0 && step < length) return read<kWide>(from + step * stride, out);
#pragma unroll
  for (int i = 0; i < kWide; ++i) out[i] = 0.f;
}

template <typename T, int kWidth, int kWide>
__device__ void fill(Window<kWidth, kWide>& window, const T* from, int64_t stride, int64_t begin, int64_t length) {
#pragma unroll
  for (int k = 1; k < kWidth; ++k) {
    float next[kWide];
    read_step<T>(from, stride, begin - kWidth + k, length, next);
    window.push(next);
  }
}

template <int kWidth, int kWide>
__device__ float convolved(const Taps<kWidth, kWide>& taps, const Window<kWidth, kWide>& window, int i) {
  float sum = taps.bias[i];
#pragma unroll
  for (int k = 0; k < kWidth; ++k) sum = fmaf(taps.at[k][i], window.at[k][i], sum);
  return sum;
}

/// A few steps of a sequence.
template <typename T, int kWide>
struct Group {
  float at[kAhead][kWide];

  __device__ void read(const T* from, int64_t stride, int64_t begin, int64_t length) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) read_step<T>(from, stride, begin + i, length, at[i]);
  }
};

template <typename T, int kWidth, int kWide>
__global__ void __launch_bounds__(kThreads) forward(const Convolution of, T* y) {
  const Place place = own_place<kWide>(kForwardSteps);
  if (place.channel >= of.channels) return;
  const T* const x = static_cast<const T*>(of.x) + place.batch * of.x_batch_stride + place.channel;
  T* const out = y + place.batch * of.length * of.channels + place.channel;
  Group<T, kWide> next;
  next.read(x, of.x_time_stride, place.begin, of.length);
  const Taps<kWidth, kWide> taps(of, place.channel);
  Window<kWidth, kWide> window;
  fill<T>(window, x, of.x_time_stride, place.begin, of.length);
#pragma unroll 1
  for (int step = 0; step < kForwardSteps; step += kAhead) {
    const Group<T, kWide> group = next;
    if (step + kAhead < kForwardSteps) next.read(x, of.x_time_stride, place.begin + step + kAhead, of.length);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int64_t now = place.begin + step + i;
      if (now >= of.length) return;
      window.push(group.at[i]);
      float result[kWide];
#pragma unroll
      for (int k = 0; k < kWide; ++k) {
        const float sum = convolved(taps, window, k);
        result[k] = sum * sigmoid(sum);
      }
      write<kWide>(out + now * of.channels, result);
    }
  }
}

/// Runs through its stretch and kWidth - 1 steps more, whose gradients the last inputs of the stretch need.
template <typename T, int kWidth, int kWide>
__global__ void __launch_bounds__(kThreads)
    backward(const Convolution of, const T* dy, T* dx, float* parts, int steps) {
  const Place place = own_place<kWide>(steps);
  if (place.channel >= of.channels) return;
  const T* const x = static_cast<const T*>(of.x) + place.batch * of.x_batch_stride + place.channel;
  const int64_t dense = place.batch * of.length * of.channels + place.channel;
  const T* const upstream = dy + dense;
  T* const out = dx + dense;
  Group<T, kWide> next_inputs;
  Group<T, kWide> next_upstream;
  next_inputs.read(x, of.x_time_stride, place.begin, of.length);
  next_upstream.read(upstream, of.channels, place.begin, of.length);
  const Taps<kWidth, kWide> taps(of, place.channel);
  Window<kWidth, kWide> inputs;
  Window<kWidth, kWide> gradients;
  float sums[kWidth + 1][kWide] = {};
  fill<T>(inputs, x, of.x_time_stride, place.begin, of.length);
  const int all = steps + kWidth - 1;
#pragma unroll 1
  for (int step = 0; step < all; step += kAhead) {
    const Group<T, kWide> group = next_inputs;
    const Group<T, kWide> d = next_upstream;
    if (step + kAhead < all) {
      next_inputs.read(x, of.x_time_stride, place.begin + step + kAhead, of.length);
      next_upstream.read(upstream, of.channels, place.begin + step + kAhead, of.length);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int now = step + i;
      inputs.push(group.at[i]);
      float gradient[kWide];
#pragma unroll
      for (int k = 0; k < kWide; ++k) {
        const float sum = convolved(taps, inputs, k);
        const float gate = sigmoid(sum);
        gradient[k] = d.at[i][k] * gate * fmaf(sum, 1.f - gate, 1.f);
      }
      gradients.push(gradient);
      if (now < steps) {
#pragma unroll
        for (int k = 0; k < kWide; ++k) {
#pragma unroll
          for (int tap = 0; tap < kWidth; ++tap) sums[tap][k] = fmaf(gradient[k], inputs.at[tap][k], sums[tap][k]);
          sums[kWidth][k] += gradient[k];
        }
      }
      const int done = now - (kWidth - 1);
      if (done < 0 || done >= steps || place.begin + done >= of.length) continue;
      float result[kWide];
#pragma unroll
      for (int k = 0; k < kWide; ++k) {
        result[k] = 0.f;
#pragma unroll
        for (int tap = 0; tap < kWidth; ++tap) {
          result[k] = fmaf(taps.at[tap][k], gradients.at[kWidth - 1 - tap][k], result[k]);
        }
      }
      write<kWide>(out + (place.begin + done) * of.channels, result);
    }
  }
  const int64_t part = static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y;
#pragma unroll
  for (int k = 0; k <= kWidth; ++k) {
    write<kWide>(parts + (part * (kWidth + 1) + k) * of.channels + place.channel, sums[k]);
  }
}

/// Steps that a thread takes backwards: as many as leave enough threads, since each stretch reads a few steps twice and
/// leaves sums behind.
int backward_steps(const Convolution& of) {
  int steps = kMostSteps;
  const int64_t pairs = of.batch * ceil_divide(of.channels, 2);
  while (steps > kFewestSteps && pairs * ceil_divide(of.length, steps) < kEnoughThreads) steps /= 2;
  return steps;
}

constexpr int kMostWide = 2;

/// Calls `function` with the width and the number of channels that a thread owns, as constants.
template <typename Function>
cudaError_t with_shape(const Convolution& of, bool wide, const Function& function) {
  const auto with_width = [&](auto width) {
    if (wide) return function(width, std::integral_constant<int, kMostWide>{});
    return function(width, std::integral_constant<int, 1>{});
  };
  switch (of.width) {
    case 2:
      return with_width(std::integral_constant<int, 2>{});
    case 3:
      return with_width(std::integral_constant<int, 3>{});
    case 4:
      return with_width(std::integral_constant<int, 4>{});
    case 5:
      return with_width(std::integral_constant<int, 5>{});
    case 6:
      return with_width(std::integral_constant<int, 6>{});
    case 7:
      return with_width(std::integral_constant<int, 7>{});
    case kWidestConvolution:
      return with_width(std::integral_constant<int, kWidestConvolution>{});
    default:
      return cudaErrorInvalidValue;
  }
}

template <typename T>
bool can_be_wide(const Convolution& of, std::initializer_list<const void*> others) {
  constexpr size_t kBytes = sizeof(T) * kMostWide;
  bool wide = of.channels % kMostWide == 0 && of.x_batch_stride % kMostWide == 0 && of.x_time_stride % kMostWide == 0 &&
              is_aligned(of.x, kBytes);
  for (const void* other : others) wide = wide && is_aligned(other, kBytes);
  return wide;
}

dim3 grid_of(const Convolution& of, int wide, int steps) {
  return dim3(ceil_divide(of.channels, static_cast<int64_t>(kThreads) * wide), ceil_divide(of.length, steps), of.batch);
}

}  // namespace

cudaError_t convolution_forward(const Convolution& of, void* y, cudaStream_t stream) {
  return with_element(of.element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return with_shape(of, can_be_wide<T>(of, {y}), [&](auto width, auto wide) {
      const dim3 grid = grid_of(of, wide, kForwardSteps);
      forward<T, decltype(width)::value, decltype(wide)::value><<<grid, kThreads, 0, stream>>>(of, static_cast<T*>(y));
      return cudaGetLastError();
    });
  });
}

int64_t convolution_parts(const Convolution& of) {
  return of.batch * ceil_divide(of.length, backward_steps(of));
}

cudaError_t convolution_backward(const Convolution& of, const void* dy, const ConvolutionGradients& out,
                                 cudaStream_t stream) {
  const cudaError_t error = with_element(of.element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return with_shape(of, can_be_wide<T>(of, {dy, out.dx}), [&](auto width, auto wide) {
      const int steps = backward_steps(of);
      const dim3 grid = grid_of(of, wide, steps);
      backward<T, decltype(width)::value, decltype(wide)::value>
          <<<grid, kThreads, 0, stream>>>(of, static_cast<const T*>(dy), static_cast<T*>(out.dx), out.parts, steps);
      return cudaGetLastError();
    });
  });
  if (error != cudaSuccess) return error;
  return sum_rows(out.parts, convolution_parts(of), (of.width + 1) * of.channels, out.sums, stream);
}

}  // namespace colonnade::cuda
