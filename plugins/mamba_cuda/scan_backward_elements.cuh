// The backward pass over one tile of 16 steps: what a warp keeps of it, and what is done once an element, by threads
// that own four neighbouring channels of a step. scan_backward_states.cuh holds what is done once a state.
#pragma once

#include "scan_launch.cuh"
#include "scan_tile.cuh"

namespace colonnade::mamba_cuda {

inline constexpr int kBackwardTile = kBoundary;
inline constexpr int kBackwardWarps = 4;
inline constexpr int kBackwardThreads = kBackwardWarps * kWarp;
/// A thread has two channels, so that what it reads of B and C serves twice, and half as much is summed over lanes.
inline constexpr int kOwn = 2;
inline constexpr int kOwnChannels = kOwn * kWarpChannels;  // of a warp
inline constexpr int kBackwardChannels = kBackwardWarps * kOwnChannels;
/// Steps from one state kept to the next; of so many steps each thread of a warp takes one element's sums.
inline constexpr int kGroup = kLanes / kOwn;
inline constexpr int kGroups = kBackwardTile / kGroup;
using BackwardLayout = WarpLayout<kBackwardTile, kBackwardChannels, false, kOwnChannels>;

/// A step of one channel.
struct Step {
  float delta;
  float input;  // what B is multiplied by: delta x, or x where the hold depends on the state
};

/// Sums over states for the elements [step][channel] of a group.
struct StateSums {
  float y[kWarp];              // h C
  float through_input[kWarp];  // dh B, with zoh times the hold
  float through_decay[kWarp];  // dh dh/ddelta but for the part through the input
};

using ElementLines = float[kBackwardTile][kOwnChannels];

/// What a warp keeps of its channels.
struct WarpTile {
  union {
    float4 states[kOwn][kWarp];  // before the group, as the threads hold them
    StateSums sums;              // then of its elements
  } group[kGroups];
  Step step[kBackwardTile][kOwnChannels];
  ElementLines inner;  // gradient of y before the gate
  ElementLines x;
  ElementLines slope;                       // of softplus
  ElementLines gate_slope;                  // gradient of the gated y times the slope of silu(z)
  float parts[kBackwardTile][2 * kStates];  // the warp's parts of dB and dC
};

struct BackwardShared {
  WarpTile warp[kBackwardWarps];
  // B and C as the threads want them: [step][lane][order of the four], and one to spread them over the banks.
  float4 b[kBackwardTile][kLanes][kLanes + 1];
  float4 c[kBackwardTile][kLanes][kLanes + 1];
};

__device__ inline void write_four(float4& out, const float (&in)[kWide]) {
  out = make_float4(in[0], in[1], in[2], in[3]);
}

/// Four neighbouring channels of a line.
__device__ inline float4& four(ElementLines& lines, int line, int column) {
  return *reinterpret_cast<float4*>(&lines[line][column]);
}

/// Writes the tile's B and C, each four in the four orders that threads number them in.
template <typename T>
__device__ void prepare_states(const LoadedTile<T, BackwardLayout>& in, BackwardShared& shared) {
  const int line = BackwardLayout::state_row();
  if (line >= kBackwardTile) return;
  const int lane = threadIdx.x % kLanes;
  float b[kLaneStates];
  float c[kLaneStates];
  to_floats<T>(in.b[0], b);
  to_floats<T>(in.c[0], c);
#pragma unroll
  for (int order = 0; order < kLanes; ++order) {
    shared.b[line][lane][order] = make_float4(b[order], b[1 ^ order], b[2 ^ order], b[3 ^ order]);
    shared.c[line][lane][order] = make_float4(c[order], c[1 ^ order], c[2 ^ order], c[3 ^ order]);
  }
}

template <typename T, bool kZoh>
__device__ void prepare(const Pass& pass, const LoadedTile<T, BackwardLayout>& in, int remaining,
                        const float (&bias)[kWide], WarpTile& tile) {
#pragma unroll
  for (int turn = 0; turn < BackwardLayout::kTurns; ++turn) {
    const int line = BackwardLayout::row() + turn * BackwardLayout::kRows;
    const int column = BackwardLayout::own_column();
    float raw[kWide];
    float delta[kWide];
    float slope[kWide];
    float x[kWide];
    float inner[kWide];
    to_floats<T>(in.delta[turn], raw);
    to_floats<T>(in.x[turn], x);
    to_floats<T>(in.dy[turn], inner);
    // A step that does not exist has neither a step size nor a slope.
    const bool exists = line < remaining;
    if (pass.scan.softplus) {
#pragma unroll
      for (int k = 0; k < kWide; ++k) {
        softplus_with_slope(exists ? raw[k] + bias[k] : -INFINITY, delta[k], slope[k]);
      }
    } else {
#pragma unroll
      for (int k = 0; k < kWide; ++k) {
        delta[k] = exists ? raw[k] + bias[k] : 0.f;
        slope[k] = exists ? 1.f : 0.f;
      }
    }
    if (pass.scan.z.data != nullptr) {
      float gate[kWide];
      float gate_slope[kWide];
      to_floats<T>(in.z[turn], gate);
#pragma unroll
      for (int k = 0; k < kWide; ++k) {
        const float open = sigmoid(gate[k]);
        const float opened = inner[k] * open;
        gate_slope[k] = opened * fmaf(gate[k], 1.f - open, 1.f);
        inner[k] = opened * gate[k];
      }
      write_four(four(tile.gate_slope, line, column), gate_slope);
    }
    write_four(four(tile.x, line, column), x);
    write_four(four(tile.slope, line, column), slope);
    write_four(four(tile.inner, line, column), inner);
    float input[kWide];
#pragma unroll
    for (int k = 0; k < kWide; ++k) input[k] = kZoh ? x[k] : delta[k] * x[k];
    float4* const to = reinterpret_cast<float4*>(&tile.step[line][column]);
    to[0] = make_float4(delta[0], input[0], delta[1], input[1]);
    to[1] = make_float4(delta[2], input[2], delta[3], input[3]);
  }
}

/// Where a thread writes the gradients of its four channels, and what it sums of them over the steps. kPlain: see
/// run_backward.
template <typename T, bool kPlain>
struct Sink {
  Cursor<T> dx, ddelta, dz;
  float* sums;  // of the passes, or null
  int count;    // of the four that exist
  float skip[kWide];
  float dd[kWide];
  float dbias[kWide];
  __device__ void move(int steps, int64_t channels) {
    dx.move(steps);
    ddelta.move(steps);
    dz.move(steps);
    if (!kPlain && sums != nullptr) sums += steps * channels;
  }
};

/// Adds what earlier passes summed to `values`, or leaves them for later ones.
__device__ inline void add_passes(const Pass& pass, float* sums, int count, float (&values)[kWide]) {
#pragma unroll
  for (int k = 0; k < kWide; ++k) {
    if (k < count && !pass.first) values[k] += sums[k];
    if (k < count && !pass.last) sums[k] = values[k];
  }
}

/// Writes the gradients of the elements that this thread prepared.
template <typename T, bool kZoh, bool kPlain>
__device__ void finish(const Pass& pass, WarpTile& tile, int remaining, Sink<T, kPlain>& sink) {
#pragma unroll
  for (int turn = 0; turn < BackwardLayout::kTurns; ++turn) {
    const int below = turn * BackwardLayout::kRows;
    const int line = BackwardLayout::row() + below;
    const int column = BackwardLayout::own_column();
    const int count = line < remaining ? sink.count : 0;
    StateSums& sums = tile.group[line / kGroup].sums;
    const int element = line % kGroup * kOwnChannels + column;
    float y[kWide];
    float through_input[kWide];
    float through_decay[kWide];
    unpack(*reinterpret_cast<float4*>(&sums.y[element]), y);
    unpack(*reinterpret_cast<float4*>(&sums.through_input[element]), through_input);
    unpack(*reinterpret_cast<float4*>(&sums.through_decay[element]), through_decay);
    if (!kPlain && sink.sums != nullptr) {
      const int64_t each = pass.scan.batch * pass.scan.length * pass.scan.channels;
      float* const at = sink.sums + below * pass.scan.channels;
      add_passes(pass, at, count, y);
      add_passes(pass, at + each, count, through_input);
      add_passes(pass, at + 2 * each, count, through_decay);
      if (!pass.last) continue;
    }
    float x[kWide];
    float inner[kWide];
    float slope[kWide];
    unpack(four(tile.x, line, column), x);
    unpack(four(tile.inner, line, column), inner);
    unpack(four(tile.slope, line, column), slope);
    const float4* const steps = reinterpret_cast<const float4*>(&tile.step[line][column]);
    const float delta[kWide] = {steps[0].x, steps[0].z, steps[1].x, steps[1].z};
    float dx[kWide];
    float ddelta[kWide];
#pragma unroll
    for (int k = 0; k < kWide; ++k) {
      const float held = kZoh ? 1.f : delta[k];
      dx[k] = fmaf(through_input[k], held, sink.skip[k] * inner[k]);
      ddelta[k] = slope[k] * (kZoh ? through_decay[k] : fmaf(through_input[k], x[k], through_decay[k] * kLn2));
      // These add nothing where a step does not exist.
      sink.dd[k] = fmaf(inner[k], x[k], sink.dd[k]);
      sink.dbias[k] += ddelta[k];
    }
    const bool gated = pass.scan.z.data != nullptr;
    float gate_slope[kWide] = {};
    float dz[kWide];
    if (gated) unpack(four(tile.gate_slope, line, column), gate_slope);
#pragma unroll
    for (int k = 0; k < kWide; ++k) dz[k] = gate_slope[k] * fmaf(sink.skip[k], x[k], y[k]);
    const bool wide = kPlain || pass.wide;
    store_quad<T>(sink.dx.at + below * sink.dx.stride, from_floats<T>(dx), count, wide);
    store_quad<T>(sink.ddelta.at + below * sink.ddelta.stride, from_floats<T>(ddelta), count, wide);
    store_quad<T>(sink.dz.at + below * sink.dz.stride, from_floats<T>(dz), gated ? count : 0, wide);
  }
}

}  // namespace colonnade::mamba_cuda
