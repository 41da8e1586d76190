// What a segment of the sequence alone adds to the state's gradient in front of it.
#pragma once

#include "scan_launch.cuh"
#include "scan_tile.cuh"

namespace colonnade::mamba_cuda {

struct CarryArguments {
  Pass pass;
  Sequence dy;
  float* states = nullptr;
  float* decays = nullptr;
};

inline constexpr int kCarryTile = 16;
inline constexpr int kCarryWarps = 4;
inline constexpr int kCarryThreads = kCarryWarps * kWarp;
inline constexpr int kCarryChannels = kCarryWarps * kWarpChannels;
inline constexpr int kCarryBlocksPerProcessor = 3;
using CarryLayout = WarpLayout<kCarryTile, kCarryChannels, true>;

struct CarryTile {
  float2 step[kCarryTile][kWarpChannels];  // step size; gradient of y before the gate
  float4 c[kCarryTile][kLanes];
};

/// Writes the tile's step sizes, gradients of y before the gate, and C; waits until nobody reads the last tile's.
template <typename T>
__device__ inline void prepare_carry(const Pass& pass, const LoadedTile<T, CarryLayout>& in, int remaining,
                                     const float (&bias)[kWide], CarryTile& tile) {
  const int row = CarryLayout::row();
  float raw[kWide];
  float delta[kWide];
  float inner[kWide];
  to_floats<T>(in.delta[0], raw);
  to_floats<T>(in.dy[0], inner);
#pragma unroll
  for (int k = 0; k < kWide; ++k) raw[k] += bias[k];
  step_sizes(raw, pass.scan.softplus, delta);
  if (pass.scan.z.data != nullptr) {
    float gate[kWide];
    to_floats<T>(in.z[0], gate);
#pragma unroll
    for (int k = 0; k < kWide; ++k) inner[k] *= gate[k] * sigmoid(gate[k]);
  }
#pragma unroll
  for (int k = 0; k < kWide; ++k) delta[k] = row < remaining ? delta[k] : 0.f;
  __syncwarp();
  float4* const to = reinterpret_cast<float4*>(&tile.step[row][CarryLayout::column() % kWarpChannels]);
  to[0] = make_float4(delta[0], inner[0], delta[1], inner[1]);
  to[1] = make_float4(delta[2], inner[2], delta[3], inner[3]);
#pragma unroll
  for (int i = 0; i < CarryLayout::kStateTurns; ++i) {
    tile.c[CarryLayout::state_row() + i * CarryLayout::kStateRows][threadIdx.x % kLanes] = to_float4<T>(in.c[i]);
  }
}

/// What a segment alone sends to the step before it: the sum over its steps of (the decays up to and with that step) C
/// dy. The first segment is left out: its gradients run into the initial state's.
template <typename T>
__global__ void __launch_bounds__(kCarryThreads, kCarryBlocksPerProcessor) carry_backward(const CarryArguments args) {
  __shared__ CarryTile tiles[kCarryWarps];
  CarryTile& tile = tiles[CarryLayout::warp()];
  const Pass& pass = args.pass;
  const Scan& scan = pass.scan;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.x) * kCarryChannels;
  const int64_t batch = blockIdx.z;
  const int segment = blockIdx.y + 1;
  const int64_t begin = static_cast<int64_t>(segment) * pass.segment_steps;
  const int64_t end = min(scan.length, begin + pass.segment_steps);
  const int channel = own_warp_channel();
  const int lane = own_lane();
  const ChannelStates place{pass, batch, first_channel + own_channel(), lane};
  float a[kLaneStates];
  float carry[kLaneStates] = {};
  float product[kLaneStates] = {1.f, 1.f, 1.f, 1.f};
  place.decays(a);
  TileSource<T, CarryLayout> source(pass, args.dy, batch, begin, first_channel);
  float bias[kWide];
  read_vector(scan.bias, source.column(first_channel), source.channels, bias);
  LoadedTile<T, CarryLayout> next;
  int remaining = static_cast<int>(end - begin);
  source.load(remaining, next);
  bool alive = true;
  for (; remaining > 0 && alive; remaining -= kCarryTile) {
    prepare_carry<T>(pass, next, remaining, bias, tile);
    __syncwarp();
    source.move(kCarryTile);
    if (remaining > kCarryTile) source.load(remaining - kCarryTile, next);
#pragma unroll 8
    for (int line = 0; line < kCarryTile; ++line) {
      const float2 step = tile.step[line][channel];
      float c[kLaneStates];
      unpack(tile.c[line][lane], c);
#pragma unroll
      for (int k = 0; k < kLaneStates; ++k) {
        product[k] *= exp2_fast(step.x * a[k]);
        carry[k] = fmaf(product[k], c[k] * step.y, carry[k]);
      }
    }
    const float largest = fmaxf(fmaxf(product[0], product[1]), fmaxf(product[2], product[3]));
    alive = __any_sync(0xffffffffu, place.inside() && largest > kNegligible);
  }
#pragma unroll
  for (int k = 0; k < kLaneStates; ++k) product[k] = alive ? product[k] : 0.f;
  const int64_t index = batch * pass.segments + segment;
  place.write_padded(args.states, index, carry);
  place.write_padded(args.decays, index, product);
}

}  // namespace colonnade::mamba_cuda
