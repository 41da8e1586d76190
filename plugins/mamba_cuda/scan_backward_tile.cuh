// The backward pass over one tile of 16 steps, by the warps of a block: each has eight channels, of which it needs no
// other warp's numbers but for the sums over channels.
#pragma once

#include "scan_launch.cuh"
#include "scan_tile.cuh"

namespace colonnade::mamba_cuda {

inline constexpr int kBackwardTile = kBoundary;
inline constexpr int kBackwardChannels = 32;
inline constexpr int kBackwardThreads = kBackwardChannels * kLanes;
inline constexpr int kBackwardWarps = kBackwardThreads / kWarp;
using BackwardLayout = WarpLayout<kBackwardTile, kBackwardChannels, false>;
static_assert(BackwardLayout::kTurns == 1 && BackwardLayout::kStateTurns == 1, "a thread prepares one quad of each");

/// A step of one channel.
struct Step {
  float delta;
  float input;  // what B is multiplied by: delta x, or x where the hold depends on the state
};

/// What a warp keeps of its channels.
struct WarpTile {
  union {
    float4 history[kBackwardTile][kLanes][kWarpChannels];  // states, then their gradients
    float parts[kBackwardTile][2 * kStates];               // then the warp's parts of dB and dC
  };
  Step step[kBackwardTile][kWarpChannels];
  float inner[kBackwardTile][kWarpChannels];          // gradient of y before the gate
  float through_input[kBackwardTile][kWarpChannels];  // sum over states of dh B, with zoh times the hold
  float through_decay[kBackwardTile]
                     [kWarpChannels];  // sum over states of dh dh/ddelta but for the part through the input
  // What a thread needs again of the four elements it prepared:
  float4 slope[kWarp];  // of softplus
  float4 x[kWarp];
  union {
    struct {
      float y[kBackwardTile][kWarpChannels];
      float4 gate[kWarp];      // z
      float4 gated_dy[kWarp];  // of the gated y
    };
    float c_parts[kBackwardTile][kStates];  // the warp's part of dC, until the history can hold it
  };
};

struct BackwardShared {
  WarpTile warp[kBackwardWarps];
  float4 b[kBackwardTile][kLanes];
  float4 c[kBackwardTile][kLanes];
};

__device__ inline void write_four(float4& out, const float (&in)[kWide]) {
  out = make_float4(in[0], in[1], in[2], in[3]);
}

/// Four neighbouring channels of this thread's line.
__device__ inline float4& own_four(float (&lines)[kBackwardTile][kWarpChannels]) {
  return *reinterpret_cast<float4*>(&lines[BackwardLayout::row()][BackwardLayout::column() % kWarpChannels]);
}

template <typename T, bool kZoh>
__device__ void prepare(const Pass& pass, const LoadedTile<T, BackwardLayout>& in, int remaining,
                        const float (&bias)[kWide], BackwardShared& shared, WarpTile& tile) {
  const int own = threadIdx.x % kWarp;
  float raw[kWide];
  float delta[kWide];
  float slope[kWide];
  float x[kWide];
  float inner[kWide];
  to_floats<T>(in.delta[0], raw);
  to_floats<T>(in.x[0], x);
  to_floats<T>(in.dy[0], inner);
#pragma unroll
  for (int k = 0; k < kWide; ++k) raw[k] += bias[k];
  step_sizes(raw, pass.scan.softplus, delta);
#pragma unroll
  for (int k = 0; k < kWide; ++k) {
    slope[k] = pass.scan.softplus ? sigmoid(raw[k]) : 1.f;
    delta[k] = BackwardLayout::row() < remaining ? delta[k] : 0.f;
  }
  write_four(tile.slope[own], slope);
  write_four(tile.x[own], x);
  if (pass.scan.z.data != nullptr) {
    float gate[kWide];
    to_floats<T>(in.z[0], gate);
    write_four(tile.gate[own], gate);
    write_four(tile.gated_dy[own], inner);
#pragma unroll
    for (int k = 0; k < kWide; ++k) inner[k] *= gate[k] * sigmoid(gate[k]);
  }
  write_four(own_four(tile.inner), inner);
  float input[kWide];
#pragma unroll
  for (int k = 0; k < kWide; ++k) input[k] = kZoh ? x[k] : delta[k] * x[k];
  float4* const to =
      reinterpret_cast<float4*>(&tile.step[BackwardLayout::row()][BackwardLayout::column() % kWarpChannels]);
  to[0] = make_float4(delta[0], input[0], delta[1], input[1]);
  to[1] = make_float4(delta[2], input[2], delta[3], input[3]);
  if (threadIdx.x < kBackwardTile * kLanes) {
    shared.b[threadIdx.x / kLanes][threadIdx.x % kLanes] = to_float4<T>(in.b[0]);
    shared.c[threadIdx.x / kLanes][threadIdx.x % kLanes] = to_float4<T>(in.c[0]);
  }
}

/// Computes the tile's states again, from h at its start.
template <bool kZoh>
__device__ void run_states(const BackwardShared& shared, WarpTile& tile, int channel, int lane,
                           const float (&a)[kLaneStates], float (&h)[kLaneStates]) {
#pragma unroll 4
  for (int line = 0; line < kBackwardTile; line += kLanes) {
    float y[kLanes];
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      const Step step = tile.step[line + i][channel];
      float b[kLaneStates];
      float c[kLaneStates];
      unpack(shared.b[line + i][lane], b);
      unpack(shared.c[line + i][lane], c);
      y[i] = 0.f;
#pragma unroll
      for (int k = 0; k < kLaneStates; ++k) {
        const float z = step.delta * a[k];
        const float decay = exp2_fast(z);
        const float input = kZoh ? held_ratio(decay, z * kLn2) * step.delta * step.input : step.input;
        h[k] = fmaf(decay, h[k], input * b[k]);
        y[i] = fmaf(h[k], c[k], y[i]);
      }
      write_four(tile.history[line + i][lane][channel], h);
    }
    tile.y[line + lane][channel] = sum_over_lanes(y, lane);
  }
}

/// carry: on entry decay * dh of the step behind the tile, on return that of the tile's first step.
template <bool kZoh>
__device__ void run_gradients(const BackwardShared& shared, WarpTile& tile, int channel, int lane,
                              const float (&a)[kLaneStates], const float (&start)[kLaneStates],
                              float (&carry)[kLaneStates], float (&da)[kLaneStates]) {
#pragma unroll 4
  for (int line = kBackwardTile - kLanes; line >= 0; line -= kLanes) {
    float through_input[kLanes];
    float through_decay[kLanes];
#pragma unroll
    for (int i = kLanes - 1; i >= 0; --i) {
      const Step step = tile.step[line + i][channel];
      const float dy = tile.inner[line + i][channel];
      float b[kLaneStates];
      float c[kLaneStates];
      float before[kLaneStates];
      float weighted[kLaneStates];
      unpack(shared.b[line + i][lane], b);
      unpack(shared.c[line + i][lane], c);
      if (line + i > 0) {
        unpack(tile.history[line + i - 1][lane][channel], before);
      } else {
#pragma unroll
        for (int k = 0; k < kLaneStates; ++k) before[k] = start[k];
      }
      through_input[i] = 0.f;
      through_decay[i] = 0.f;
#pragma unroll
      for (int k = 0; k < kLaneStates; ++k) {
        const float z = step.delta * a[k];
        const float decay = exp2_fast(z);
        const float dh = fmaf(c[k], dy, carry[k]);
        carry[k] = dh * decay;
        const float past = carry[k] * before[k];
        if constexpr (kZoh) {
          const float natural = z * kLn2;
          const float ratio = held_ratio(decay, natural);
          weighted[k] = dh * ratio * step.delta;
          through_input[i] = fmaf(weighted[k], b[k], through_input[i]);
          through_decay[i] += past * a[k] * kLn2 + carry[k] * b[k] * step.input;
          const float slope = held_ratio_slope(decay, ratio, natural) * step.delta * step.delta;
          da[k] += past * step.delta + dh * slope * b[k] * step.input;
        } else {
          weighted[k] = dh;
          through_input[i] = fmaf(dh, b[k], through_input[i]);
          through_decay[i] = fmaf(past, a[k], through_decay[i]);
          da[k] = fmaf(past, step.delta, da[k]);
        }
      }
      write_four(tile.history[line + i][lane][channel], weighted);
    }
    tile.through_input[line + lane][channel] = sum_over_lanes(through_input, lane);
    tile.through_decay[line + lane][channel] = sum_over_lanes(through_decay, lane);
  }
}

/// Sums the history times a number of each channel over the warp's channels: this thread's four states of two lines.
template <typename Factor>
__device__ inline void sum_channels(const WarpTile& tile, const Factor& factor, float (&totals)[2][kLaneStates]) {
  const int lane = threadIdx.x % kLanes;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int line = threadIdx.x % kWarp / kLanes + half * kBackwardTile / 2;
#pragma unroll
    for (int k = 0; k < kLaneStates; ++k) totals[half][k] = 0.f;
#pragma unroll
    for (int i = 0; i < kWarpChannels; ++i) {
      // Eight threads that are served at once, or lines four apart, read from other banks each.
      const int channel = (i + lane + kLanes * (line + line / kLanes)) % kWarpChannels;
      float value[kLaneStates];
      unpack(tile.history[line][lane][channel], value);
      const float weight = factor(line, channel);
#pragma unroll
      for (int k = 0; k < kLaneStates; ++k) totals[half][k] = fmaf(value[k], weight, totals[half][k]);
    }
  }
}

/// Where a thread writes the gradients of its four channels.
template <typename T>
struct Sink {
  Cursor<T> dx, ddelta, dz;
  float* sums;  // of the passes, or null
  __device__ void move(int steps, int64_t channels) {
    dx.move(steps);
    ddelta.move(steps);
    dz.move(steps);
    if (sums != nullptr) sums += steps * channels;
  }
};

/// Adds what earlier passes summed to `values`, or leaves them for later ones; true if this is the last pass.
__device__ inline bool add_passes(const Pass& pass, float* sums, int count, float (&values)[kWide]) {
  if (sums == nullptr) return true;
#pragma unroll
  for (int k = 0; k < kWide; ++k) {
    if (k < count && !pass.first) values[k] += sums[k];
    if (k < count && !pass.last) sums[k] = values[k];
  }
  return pass.last;
}

template <typename T>
__device__ void finish_gate(const Pass& pass, WarpTile& tile, const Sink<T>& sink, int count,
                            const float (&skip)[kWide]) {
  if (pass.scan.z.data == nullptr) return;
  const int own = threadIdx.x % kWarp;
  float y[kWide];
  float x[kWide];
  float dy[kWide];
  float gate[kWide];
  float dz[kWide];
  unpack(own_four(tile.y), y);
  if (!add_passes(pass, sink.sums, count, y)) return;
  unpack(tile.x[own], x);
  unpack(tile.gated_dy[own], dy);
  unpack(tile.gate[own], gate);
#pragma unroll
  for (int k = 0; k < kWide; ++k) {
    const float open = sigmoid(gate[k]);
    dz[k] = dy[k] * fmaf(skip[k], x[k], y[k]) * (open * fmaf(gate[k], 1.f - open, 1.f));
  }
  store_quad<T>(sink.dz.at, from_floats<T>(dz), count, pass.wide);
}

template <typename T, bool kZoh>
__device__ void finish(const Pass& pass, WarpTile& tile, const Sink<T>& sink, int count, const float (&skip)[kWide],
                       float (&dd)[kWide], float (&dbias)[kWide]) {
  float through_input[kWide];
  float through_decay[kWide];
  unpack(own_four(tile.through_input), through_input);
  unpack(own_four(tile.through_decay), through_decay);
  const int64_t each = pass.scan.batch * pass.scan.length * pass.scan.channels;
  float* const sums = sink.sums;
  add_passes(pass, sums == nullptr ? nullptr : sums + each, count, through_input);
  if (!add_passes(pass, sums == nullptr ? nullptr : sums + 2 * each, count, through_decay)) return;
  float slope[kWide];
  float x[kWide];
  float inner[kWide];
  unpack(tile.slope[threadIdx.x % kWarp], slope);
  unpack(tile.x[threadIdx.x % kWarp], x);
  unpack(own_four(tile.inner), inner);
  const Step* const steps = &tile.step[BackwardLayout::row()][BackwardLayout::column() % kWarpChannels];
  float dx[kWide];
  float ddelta[kWide];
#pragma unroll
  for (int k = 0; k < kWide; ++k) {
    const float held = kZoh ? 1.f : steps[k].delta;
    dx[k] = fmaf(through_input[k], held, skip[k] * inner[k]);
    ddelta[k] = slope[k] * (kZoh ? through_decay[k] : fmaf(through_input[k], x[k], through_decay[k] * kLn2));
    // Steps and channels that do not exist have dy = 0 and x = 0, but a slope of their own.
    dd[k] = fmaf(inner[k], x[k], dd[k]);
    dbias[k] += k < count ? ddelta[k] : 0.f;
  }
  store_quad<T>(sink.dx.at, from_floats<T>(dx), count, pass.wide);
  store_quad<T>(sink.ddelta.at, from_floats<T>(ddelta), count, pass.wide);
}

}  // namespace colonnade::mamba_cuda
