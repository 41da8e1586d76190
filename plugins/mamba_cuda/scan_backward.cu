// The backward pass. A block takes 32 channels of one batch and one segment of the sequence, from its end, 16 steps at
// a time. For each tile a warp, with eight channels of its own,
//   1. computes the states again from the one saved at the tile's start, into shared memory, and finishes dz,
//   2. sums dy h over its channels: its part of dC (threads now own a step and four states, so no lane waits for
//   another),
//   3. runs the recurrence of the state's gradient backwards, which replaces the states in shared memory,
//   4. sums that times the input over its channels: its part of dB; and finishes dx and ddelta.
// The block then adds up its warps' parts, a last kernel the blocks', all in a fixed order.
//
// Where the sequence is cut into segments, their first gradients come as the forward pass's states do: what each
// segment adds alone, then a chain.
#include <algorithm>

#include "scan_backward_tile.cuh"

namespace colonnade::mamba_cuda {
namespace {

constexpr int kTile = kBackwardTile;
constexpr int kChannels = kBackwardChannels;
constexpr int kThreads = kBackwardThreads;
constexpr int kBlocksPerProcessor = 3;  // a fourth would leave too few registers
template <typename T>
using Source = TileSource<T, BackwardLayout>;

struct BackwardArguments {
  Pass pass;
  Sequence dy;
  const float* boundaries = nullptr;
  const float* incoming = nullptr;  // [B, segments, D, 16] what enters the segments from the right; null: dh_last
  const float* dh_last = nullptr;
  BackwardOutputs out;
  float* leaving = nullptr;       // [B, D, 16] gradient of the initial state, where segments were not chained; or null
  float* bc_parts = nullptr;      // [B, L, channel blocks, 32] of dB and dC
  float* a_parts = nullptr;       // [B, segments, D, 16] of dA
  float* vector_parts = nullptr;  // [B, segments, 2, D] of dD and dbias
  float* sums = nullptr;  // [3, B, L, D] of y and the two sums over states, over the passes; null for a single one
};

/// Adds up the warps' parts of dB and dC and writes the block's.
__device__ void write_parts(const BackwardShared& shared, float* parts, int64_t part_stride, int remaining) {
#pragma unroll
  for (int i = threadIdx.x; i < kTile * 2 * kStates; i += kThreads) {
    const int line = i / (2 * kStates);
    const int column = i % (2 * kStates);
    float total = 0.f;
#pragma unroll
    for (int warp = 0; warp < kBackwardWarps; ++warp) total += shared.warp[warp].parts[line][column];
    if (line < remaining) parts[line * part_stride + column] = total;
  }
}

/// Adds up what the lines of a warp's channels hold, in their order, and writes one number a channel.
__device__ void sum_lines(const float (&values)[kWide], WarpTile& tile, float* out, int64_t first_channel,
                          int64_t channels) {
  __syncwarp();
  write_four(own_four(tile.inner), values);
  __syncwarp();
  const int lane = threadIdx.x % kWarp;
  const int64_t channel = first_channel + BackwardLayout::warp() * kWarpChannels + lane;
  if (lane >= kWarpChannels || channel >= channels) return;
  float total = 0.f;
  for (int line = 0; line < kTile; ++line) total += tile.inner[line][lane];
  out[channel] = total;
}

template <typename T, bool kZoh>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor) run_backward(const BackwardArguments args) {
  extern __shared__ __align__(16) unsigned char memory[];
  BackwardShared& shared = *reinterpret_cast<BackwardShared*>(memory);
  const Pass& pass = args.pass;
  const Scan& scan = pass.scan;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.x) * kChannels;
  const int segment = blockIdx.y;
  const int64_t batch = blockIdx.z;
  const int64_t begin = static_cast<int64_t>(segment) * pass.segment_steps;
  const int64_t end = min(scan.length, begin + pass.segment_steps);
  const int64_t segment_index = batch * pass.segments + segment;

  WarpTile& tile = shared.warp[BackwardLayout::warp()];
  const int channel = own_warp_channel();
  const int lane = own_lane();
  const int sum_lane = threadIdx.x % kLanes;  // while sums over channels are taken
  const ChannelStates place{pass, batch, first_channel + own_channel(), lane};
  float a[kLaneStates];
  float carry[kLaneStates];
  float da[kLaneStates] = {};
  place.decays(a);
  if (args.incoming != nullptr) {
    place.read_padded(args.incoming, segment_index, carry);
  } else {
    place.read(args.dh_last, carry);
  }

  const int last_tile = static_cast<int>((end - begin - 1) / kTile * kTile);
  const int64_t first_step = begin + last_tile;
  Source<T> source(pass, args.dy, batch, first_step, first_channel);
  const int64_t column = Source<T>::column(first_channel);
  const int64_t element_step = first_step + BackwardLayout::row();
  Sink<T> sink{
      Cursor<T>(args.out.dx, batch, element_step, column), Cursor<T>(args.out.ddelta, batch, element_step, column),
      Cursor<T>(args.out.dz, batch, element_step, column),
      args.sums == nullptr ? nullptr : args.sums + (batch * scan.length + element_step) * scan.channels + column};
  float bias[kWide];
  float skip[kWide];
  float dd[kWide] = {};
  float dbias[kWide] = {};
  read_vector(scan.bias, column, source.channels, bias);
  read_vector(scan.d, column, source.channels, skip);

  const int64_t part_stride = static_cast<int64_t>(gridDim.x) * 2 * kStates;
  float* parts = args.bc_parts + (batch * scan.length + first_step) * part_stride + blockIdx.x * 2 * kStates;
  int64_t saved = batch * boundary_count(scan.length) + first_step / kBoundary;
  LoadedTile<T, BackwardLayout> next;
  float next_start[kLaneStates];
  int remaining = static_cast<int>(end - first_step);
  source.load(remaining, next);
  place.read_padded(args.boundaries, saved, next_start);
  for (int steps = last_tile; steps >= 0; steps -= kTile) {
    prepare<T, kZoh>(pass, next, remaining, bias, shared, tile);
    float start[kLaneStates];
    float h[kLaneStates];
#pragma unroll
    for (int k = 0; k < kLaneStates; ++k) h[k] = start[k] = next_start[k];
    __syncthreads();  // B and C are there; nobody reads the last tile's parts any more
    source.move(-kTile);
    if (steps > 0) {
      source.load(kTile, next);
      place.read_padded(args.boundaries, --saved, next_start);
    }
    run_states<kZoh>(shared, tile, channel, lane, a, h);
    __syncwarp();
    const int count = BackwardLayout::row() < remaining ? source.channels : 0;
    finish_gate<T>(pass, tile, sink, count, skip);
    const int half_tile = kTile / 2;
    const int line = threadIdx.x % kWarp / kLanes;
    float totals[2][kLaneStates];
    sum_channels(
        tile, [&](int step, int which) { return tile.inner[step][which]; }, totals);
    __syncwarp();
    write_four(reinterpret_cast<float4&>(tile.c_parts[line][sum_lane * kLaneStates]), totals[0]);
    write_four(reinterpret_cast<float4&>(tile.c_parts[line + half_tile][sum_lane * kLaneStates]), totals[1]);
    run_gradients<kZoh>(shared, tile, channel, lane, a, start, carry, da);
    __syncwarp();
    finish<T, kZoh>(pass, tile, sink, count, skip, dd, dbias);
    sum_channels(
        tile, [&](int step, int which) { return tile.step[step][which].input; }, totals);
    __syncwarp();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float* const to = tile.parts[line + half * half_tile];
      write_four(reinterpret_cast<float4&>(to[sum_lane * kLaneStates]), totals[half]);
      reinterpret_cast<float4&>(to[kStates + sum_lane * kLaneStates]) =
          reinterpret_cast<const float4&>(tile.c_parts[line + half * half_tile][sum_lane * kLaneStates]);
    }
    __syncthreads();  // all warps' parts are there; nobody reads B and C any more
    write_parts(shared, parts, part_stride, remaining);
    sink.move(-kTile, scan.channels);
    parts -= kTile * part_stride;
    remaining = kTile;
  }
  place.write_padded(args.a_parts, segment_index, da);
  if (args.leaving != nullptr && begin == 0) place.write(args.leaving, carry);
  if (!pass.last) return;
  float* const vectors = args.vector_parts + segment_index * 2 * scan.channels;
  sum_lines(dd, tile, vectors, first_channel, scan.channels);
  sum_lines(dbias, tile, vectors + scan.channels, first_channel, scan.channels);
}

struct CarryArguments {
  Pass pass;
  Sequence dy;
  float* states = nullptr;
  float* decays = nullptr;
};

constexpr int kCarryTile = 16;
using CarryLayout = WarpLayout<kCarryTile, kChannels, true>;

struct CarryTile {
  float2 step[kCarryTile][kWarpChannels];  // step size; gradient of y before the gate
  float4 c[kCarryTile][kLanes];
};

/// What a segment alone sends to the step before it: the sum over its steps of (the decays up to and with that step) C
/// dy.
template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor) carry_backward(const CarryArguments args) {
  __shared__ CarryTile tiles[kBackwardWarps];
  CarryTile& tile = tiles[CarryLayout::warp()];
  const Pass& pass = args.pass;
  const Scan& scan = pass.scan;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.x) * kChannels;
  const int64_t batch = blockIdx.z;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * pass.segment_steps;
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
    const int row = CarryLayout::row();
    float raw[kWide];
    float delta[kWide];
    float inner[kWide];
    to_floats<T>(next.delta[0], raw);
    to_floats<T>(next.dy[0], inner);
#pragma unroll
    for (int k = 0; k < kWide; ++k) raw[k] += bias[k];
    step_sizes(raw, scan.softplus, delta);
    if (scan.z.data != nullptr) {
      float gate[kWide];
      to_floats<T>(next.z[0], gate);
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
      tile.c[CarryLayout::state_row() + i * CarryLayout::kStateRows][threadIdx.x % kLanes] = to_float4<T>(next.c[i]);
    }
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
  const int64_t index = batch * pass.segments + blockIdx.y;
  place.write_padded(args.states, index, carry);
  place.write_padded(args.decays, index, product);
}

/// dB and dC of one pass from the blocks' parts [rows, blocks, 32].
template <typename T>
__global__ void sum_blocks(const Pass pass, const float* parts, int blocks, Sequence db, Sequence dc) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t position = index / (2 * kStates);
  if (position >= pass.scan.batch * pass.scan.length) return;
  const int column = static_cast<int>(index % (2 * kStates));
  const float* part = parts + position * blocks * 2 * kStates + column;
  float total = 0.f;
  for (int i = 0; i < blocks; ++i) total += part[static_cast<int64_t>(i) * 2 * kStates];
  const int state = column % kStates;
  if (state >= pass.states) return;
  const Sequence& out = column < kStates ? db : dc;
  Cursor<T>(out, position / pass.scan.length, position % pass.scan.length, state).at[0] = T(total);
}

/// dA [D, N] of one pass from parts [rows, D, 16].
__global__ void sum_decays(const Pass pass, const float* parts, int64_t rows, float* da) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t columns = pass.scan.channels * kStates;
  if (index >= columns || index % kStates >= pass.states) return;
  float total = 0.f;
  for (int64_t i = 0; i < rows; ++i) total += parts[i * columns + index];
  da[index / kStates * pass.scan.states + index % kStates] = total;
}

/// dD and dbias [D] from parts [rows, 2, D].
__global__ void sum_vectors(const float* parts, int64_t rows, int64_t channels, float* dd, float* dbias) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= 2 * channels) return;
  float total = 0.f;
  for (int64_t i = 0; i < rows; ++i) total += parts[i * 2 * channels + index];
  float* const out = index < channels ? dd : dbias;
  if (out != nullptr) out[index % channels] = total;
}

constexpr int kSumThreads = 128;
unsigned sum_grid(int64_t count) {
  return static_cast<unsigned>(ceil_divide(count, kSumThreads));
}

template <typename T, bool kZoh>
cudaError_t launch(const BackwardArguments& args, const CarryArguments& carry, cudaStream_t stream) {
  const Pass& pass = args.pass;
  const Scan& scan = pass.scan;
  const dim3 grid(ceil_divide(scan.channels, kChannels), pass.segments, scan.batch);
  if (pass.segments > 1) {
    carry_backward<T><<<grid, kThreads, 0, stream>>>(carry);
    chain_segments(pass, args.dh_last, carry.states, carry.decays, Direction::backward, args.out.dh0, stream);
  }
  const cudaError_t error =
      cudaFuncSetAttribute(run_backward<T, kZoh>, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(BackwardShared));
  if (error != cudaSuccess) return error;
  run_backward<T, kZoh><<<grid, kThreads, sizeof(BackwardShared), stream>>>(args);
  const int blocks = static_cast<int>(grid.x);
  sum_blocks<T><<<sum_grid(scan.batch * scan.length * 2 * kStates), kSumThreads, 0, stream>>>(
      pass, args.bc_parts, blocks, args.out.db, args.out.dc);
  const int64_t rows = scan.batch * pass.segments;
  sum_decays<<<sum_grid(scan.channels * kStates), kSumThreads, 0, stream>>>(pass, args.a_parts, rows, args.out.da);
  if (pass.last) {
    sum_vectors<<<sum_grid(2 * scan.channels), kSumThreads, 0, stream>>>(args.vector_parts, rows, scan.channels,
                                                                         args.out.dd, args.out.dbias);
  }
  return cudaGetLastError();
}

int segment_count(const Scan& scan, int multiprocessors) {
  const int64_t blocks = ceil_divide(scan.channels, kChannels) * scan.batch;
  constexpr int64_t kEnough = 2;
  if (blocks >= kEnough * multiprocessors) return 1;
  constexpr int64_t kWaves = 4;
  constexpr int64_t kShortest = 16 * kTile;
  const int64_t wanted = ceil_divide(kWaves * kBlocksPerProcessor * multiprocessors, blocks);
  return whole_segments(scan, std::clamp<int64_t>(scan.length / kShortest, 1, wanted), kTile);
}

struct Workspace {
  float* bc_parts = nullptr;
  float* a_parts = nullptr;
  float* vector_parts = nullptr;
  float* carry = nullptr;
  float* decays = nullptr;
  float* sums = nullptr;
  size_t bytes = 0;
};

Workspace divide(const Scan& scan, int multiprocessors, void* base) {
  Arena arena(base);
  Workspace out;
  const int64_t segments = segment_count(scan, multiprocessors);
  const int64_t carried = scan.batch * segments * scan.channels * kStates;
  out.bc_parts = arena.take(scan.batch * scan.length * ceil_divide(scan.channels, kChannels) * 2 * kStates);
  out.a_parts = arena.take(carried);
  out.vector_parts = arena.take(scan.batch * segments * 2 * scan.channels);
  out.carry = arena.take(segments > 1 ? carried : 0);
  out.decays = arena.take(segments > 1 ? carried : 0);
  constexpr int64_t kSums = 3;
  out.sums = arena.take(scan.states > kStates ? kSums * scan.batch * scan.length * scan.channels : 0);
  out.bytes = arena.bytes();
  return out;
}

Sequence at_state(const Sequence& sequence, int64_t state, Element element) {
  Sequence out = sequence;
  out.data = static_cast<char*>(sequence.data) + state * element_size(element);
  return out;
}

}  // namespace

size_t backward_workspace(const Scan& scan, int multiprocessors) {
  return divide(scan, multiprocessors, nullptr).bytes;
}

cudaError_t scan_backward(const Scan& scan, const Sequence& dy, const float* dh_last, const float* boundaries,
                          const BackwardOutputs& out, void* workspace, int multiprocessors, cudaStream_t stream) {
  const Workspace space = divide(scan, multiprocessors, workspace);
  const int segments = segment_count(scan, multiprocessors);
  return for_each_pass(scan, {&scan.x, &scan.delta, &scan.z, &dy, &out.dx, &out.ddelta, &out.dz}, segments, kTile,
                       [&](const Pass& pass, int index) {
                         const int64_t state = int64_t{index} * kStates;
                         BackwardArguments args{.pass = pass, .dy = dy, .out = out};
                         args.boundaries = boundaries + index * (boundary_elements(scan) / pass_count(scan));
                         args.dh_last = dh_last != nullptr ? dh_last + state : nullptr;
                         args.incoming = segments > 1 ? space.carry : nullptr;
                         args.out.da += state;
                         args.out.db = at_state(out.db, state, scan.element);
                         args.out.dc = at_state(out.dc, state, scan.element);
                         args.out.dh0 = out.dh0 != nullptr ? out.dh0 + state : nullptr;
                         args.leaving = segments > 1 ? nullptr : args.out.dh0;
                         args.bc_parts = space.bc_parts;
                         args.a_parts = space.a_parts;
                         args.vector_parts = space.vector_parts;
                         args.sums = space.sums;
                         const CarryArguments carry{pass, dy, space.carry, space.decays};
                         return dispatch(scan, [&](auto element, auto zoh) {
                           return launch<typename decltype(element)::type, decltype(zoh)::value>(args, carry, stream);
                         });
                       });
}

}  // namespace colonnade::mamba_cuda
