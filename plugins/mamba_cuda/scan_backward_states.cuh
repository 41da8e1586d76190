// The backward pass over one tile of 16 steps: what is done once a state. A warp needs no other warp's numbers but for
// the sums over channels.
//
// What is summed over threads is halved with every exchange: a thread keeps one half of its numbers and hands the other
// to the thread that keeps it. So that this takes no selecting, threads number their registers differently: a thread's
// register k is state k ^ (channel % 4) of its four, its register j channel j ^ (lane % 2) of its two.
#pragma once

#include "scan_backward_elements.cuh"

namespace colonnade::mamba_cuda {

/// This thread's place among its warp's.
struct Place {
  int channel = own_warp_channel();
  int lane = own_lane();
  int order = channel % kLanes;
  /// The channel of register j, in the warp.
  __device__ int own(int j) const { return channel + kWarpChannels * (j ^ (lane & 1)); }
};

/// From the order of states to that of a thread's registers, and back.
__device__ inline void reorder(float (&values)[kLaneStates], int order) {
  const bool upper = order & 2;
  const bool odd = order & 1;
  const float far[kLaneStates] = {upper ? values[2] : values[0], upper ? values[3] : values[1],
                                  upper ? values[0] : values[2], upper ? values[1] : values[3]};
  values[0] = odd ? far[1] : far[0];
  values[1] = odd ? far[0] : far[1];
  values[2] = odd ? far[3] : far[2];
  values[3] = odd ? far[2] : far[3];
}

/// Where a thread reads the states that the forward pass saved, tile by tile, backwards.
struct SavedStates {
  const float* at[kOwn];
  bool exists[kOwn];
  int64_t stride;
  __device__ void load(int order, float (&h)[kOwn][kLaneStates]) {
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      float4 value = make_float4(0.f, 0.f, 0.f, 0.f);
      if (exists[j]) value = *reinterpret_cast<const float4*>(at[j]);
      unpack(value, h[j]);
      reorder(h[j], order);
      at[j] -= stride;
    }
  }
  /// Has the next ones brought nearer.
  __device__ void touch_next() const {
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      if (exists[j]) touch(at[j]);
    }
  }
};

/// What B is multiplied by for one state.
template <bool kZoh>
__device__ inline float held_input(const Step& step, float decay, float z) {
  return kZoh ? held_ratio(decay, z * kLn2) * step.delta * step.input : step.input;
}

/// Computes the tile's states again, from h at its start, and keeps those before each group. Those of the last group's
/// steps are wanted only where its end is not known (`whole`).
template <bool kZoh>
__device__ void run_states(const BackwardShared& shared, WarpTile& tile, const Place& place, bool whole,
                           const float (&a)[kOwn][kLaneStates], float (&h)[kOwn][kLaneStates]) {
#pragma unroll 4
  for (int group = 0; group < kGroups; ++group) {
#pragma unroll
    for (int j = 0; j < kOwn; ++j) write_four(tile.group[group].states[j][threadIdx.x % kWarp], h[j]);
    if (group == kGroups - 1 && !whole) return;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const int line = group * kGroup + i;
      float b[kLaneStates];
      unpack(shared.b[line][place.lane][place.order], b);
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        const Step step = tile.step[line][place.own(j)];
#pragma unroll
        for (int k = 0; k < kLaneStates; ++k) {
          const float z = step.delta * a[j][k];
          const float decay = exp2_fast(z);
          h[j][k] = fmaf(decay, h[j][k], held_input<kZoh>(step, decay, z) * b[k]);
        }
      }
    }
  }
}

/// Sums four numbers each over the warp's eight threads of a lane. A thread receives one total: that of state `order`
/// of its lane's four, of b, or of c if its channel is 4 or more.
__device__ inline float sum_over_channels(const float (&b)[kLaneStates], const float (&c)[kLaneStates], int channel) {
  constexpr unsigned kAll = 0xffffffffu;
  const float b0 = b[0] + __shfl_xor_sync(kAll, b[2], 2);
  const float b1 = b[1] + __shfl_xor_sync(kAll, b[3], 2);
  const float c0 = c[0] + __shfl_xor_sync(kAll, c[2], 2);
  const float c1 = c[1] + __shfl_xor_sync(kAll, c[3], 2);
  const float b_half = b0 + __shfl_xor_sync(kAll, b1, 1);
  const float c_half = c0 + __shfl_xor_sync(kAll, c1, 1);
  const bool upper = channel & 4;
  return (upper ? c_half : b_half) + __shfl_xor_sync(kAll, upper ? b_half : c_half, 4);
}

/// Sums [step][channel] over the lanes of a channel. A thread receives one total: that of its first channel and step
/// lane / 2.
__device__ inline float sum_over_states(const float (&values)[kGroup][kOwn], int lane) {
  constexpr unsigned kAll = 0xffffffffu;
  const float first = values[0][0] + __shfl_xor_sync(kAll, values[0][1], kWarpChannels);
  const float second = values[1][0] + __shfl_xor_sync(kAll, values[1][1], kWarpChannels);
  const bool upper = lane & 2;
  return (upper ? second : first) + __shfl_xor_sync(kAll, upper ? first : second, 2 * kWarpChannels);
}

/// What a thread carries from tile to tile, backwards.
struct Recurrence {
  float a[kOwn][kLaneStates];
  float carry[kOwn][kLaneStates];  // decay * dh of the step behind
  float after[kOwn][kLaneStates];  // h of the next step to go
  float da[kOwn][kLaneStates];

  __device__ void set_after(const float (&h)[kOwn][kLaneStates]) {
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
#pragma unroll
      for (int k = 0; k < kLaneStates; ++k) after[j][k] = h[j][k];
    }
  }
};

/// One step of one channel's recurrence. `before` and `after` are h before the step and after it.
template <bool kZoh>
__device__ inline void run_gradient(const Step& step, float dy, const float (&a)[kLaneStates],
                                    const float (&b)[kLaneStates], const float (&c)[kLaneStates],
                                    const float (&decay)[kLaneStates], const float (&before)[kLaneStates],
                                    const float (&after)[kLaneStates], float (&carry)[kLaneStates],
                                    float (&da)[kLaneStates], float (&db)[kLaneStates], float (&dc)[kLaneStates],
                                    float& y, float& through_input, float& through_decay) {
#pragma unroll
  for (int k = 0; k < kLaneStates; ++k) {
    const float dh = fmaf(c[k], dy, carry[k]);
    carry[k] = dh * decay[k];
    const float past = carry[k] * before[k];
    y = fmaf(after[k], c[k], y);
    dc[k] = fmaf(after[k], dy, dc[k]);
    if constexpr (kZoh) {
      const float natural = step.delta * a[k] * kLn2;
      const float ratio = held_ratio(decay[k], natural);
      const float weighted = dh * ratio * step.delta;
      db[k] = fmaf(weighted, step.input, db[k]);
      through_input = fmaf(weighted, b[k], through_input);
      through_decay += past * a[k] * kLn2 + carry[k] * b[k] * step.input;
      const float slope = held_ratio_slope(decay[k], ratio, natural) * step.delta * step.delta;
      da[k] += past * step.delta + dh * slope * b[k] * step.input;
    } else {
      db[k] = fmaf(dh, step.input, db[k]);
      through_input = fmaf(dh, b[k], through_input);
      through_decay = fmaf(past, a[k], through_decay);
      da[k] = fmaf(past, step.delta, da[k]);
    }
  }
}

/// What of a group of steps is computed again before the recurrence.
struct Group {
  float h[kGroup][kOwn][kLaneStates];  // before each step
  float decay[kGroup][kOwn][kLaneStates];
  float b[kGroup][kLaneStates];
  Step step[kGroup][kOwn];
};

template <bool kZoh>
__device__ inline void read_group(const BackwardShared& shared, const WarpTile& tile, const Place& place, int group,
                                  const Recurrence& own, Group& out) {
#pragma unroll
  for (int j = 0; j < kOwn; ++j) {
    unpack(tile.group[group].states[j][threadIdx.x % kWarp], out.h[0][j]);
  }
  __syncwarp();  // the states make way for sums
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    const int line = group * kGroup + i;
    unpack(shared.b[line][place.lane][place.order], out.b[i]);
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      const Step step = out.step[i][j] = tile.step[line][place.own(j)];
#pragma unroll
      for (int k = 0; k < kLaneStates; ++k) {
        const float z = step.delta * own.a[j][k];
        const float decay = out.decay[i][j][k] = exp2_fast(z);
        if (i + 1 == kGroup) continue;
        out.h[i + 1][j][k] = fmaf(decay, out.h[i][j][k], held_input<kZoh>(step, decay, z) * out.b[i][k]);
      }
    }
  }
}

/// The recurrence over one group of steps, from its end. Leaves the sums over states in the place of the group's
/// states, and those over the warp's channels in its parts.
template <bool kZoh>
__device__ void run_group(const BackwardShared& shared, WarpTile& tile, const Place& place, int group,
                          Recurrence& own) {
  Group at;
  read_group<kZoh>(shared, tile, place, group, own, at);
  const int thread = threadIdx.x % kWarp;
  const int part = place.channel / kLanes * kStates + place.lane * kLaneStates + place.order;
  float y[kGroup][kOwn];
  float through_input[kGroup][kOwn];
  float through_decay[kGroup][kOwn];
#pragma unroll
  for (int i = kGroup - 1; i >= 0; --i) {
    const int line = group * kGroup + i;
    float c[kLaneStates];
    unpack(shared.c[line][place.lane][place.order], c);
    float db[kLaneStates] = {};
    float dc[kLaneStates] = {};
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      y[i][j] = through_input[i][j] = through_decay[i][j] = 0.f;
      run_gradient<kZoh>(at.step[i][j], tile.inner[line][place.own(j)], own.a[j], at.b[i], c, at.decay[i][j],
                         at.h[i][j], i + 1 < kGroup ? at.h[i + 1][j] : own.after[j], own.carry[j], own.da[j], db, dc,
                         y[i][j], through_input[i][j], through_decay[i][j]);
    }
    tile.parts[line][part] = sum_over_channels(db, dc, place.channel);
  }
  StateSums& sums = tile.group[group].sums;
  sums.y[thread] = sum_over_states(y, place.lane);
  sums.through_input[thread] = sum_over_states(through_input, place.lane);
  sums.through_decay[thread] = sum_over_states(through_decay, place.lane);
  own.set_after(at.h[0]);
}

/// The tile's states again, from h at its start, then the recurrence over all its groups. `whole`: see run_states.
template <bool kZoh>
__device__ inline void run_tile(const BackwardShared& shared, WarpTile& tile, const Place& place, bool whole,
                                Recurrence& own, float (&h)[kOwn][kLaneStates]) {
  run_states<kZoh>(shared, tile, place, whole, own.a, h);
  if (whole) own.set_after(h);
#pragma unroll 2
  for (int group = kGroups - 1; group >= 0; --group) run_group<kZoh>(shared, tile, place, group, own);
}

}  // namespace colonnade::mamba_cuda
