// The backward pass. A block takes 64 channels of one batch and one segment of the sequence, from its end, 16 steps at
// a time. For each tile a warp, with 16 channels of its own, two a thread,
//   1. computes the states again from the one saved at the tile's start, and keeps every second of them in shared
//   memory,
//   2. runs the recurrence of the state's gradient backwards, two steps at a time, the states between computed once
//   more; with what each step gives it sums over its channels its parts of dB and dC, over states what the elements
//   want,
//   3. finishes dx, ddelta and dz, element by element.
// The block then adds up its warps' parts, a last kernel the blocks', all in a fixed order.
//
// Where the sequence is cut into segments, their first gradients come as the forward pass's states do: what each
// segment adds alone, then a chain.
#include <algorithm>

#include "scan_backward_carry.cuh"
#include "scan_backward_states.cuh"

namespace colonnade::mamba_cuda {
namespace {

constexpr int kTile = kBackwardTile;
constexpr int kChannels = kBackwardChannels;
constexpr int kThreads = kBackwardThreads;
constexpr int kBlocksPerProcessor = 3;  // a fourth would find neither registers nor shared memory
template <typename T>
using Source = TileSource<T, BackwardLayout>;

struct BackwardArguments {
  Pass pass;
  Sequence dy;
  const float* boundaries = nullptr;
  const float* incoming = nullptr;  // [B, segments, D, 16] what enters the segments from the right; null: dh_last
  const float* dh_last = nullptr;
  BackwardOutputs out;
  float* bc_parts = nullptr;      // [B, L, channel blocks, 32] of dB and dC
  float* a_parts = nullptr;       // [B, segments, D, 16] of dA
  float* vector_parts = nullptr;  // [B, segments, 2, D] of dD and dbias
  float* sums = nullptr;  // [3, B, L, D] of y and the two sums over states, over the passes; null for a single one
};

/// Adds up the warps' parts of dB and dC and writes the block's.
__device__ void write_parts(const BackwardShared& shared, float* parts, int64_t part_stride, int remaining) {
  constexpr int kQuads = 2 * kStates / kWide;
  static_assert(kTile * kQuads == kThreads);
  const int line = threadIdx.x / kQuads;
  const int column = threadIdx.x % kQuads * kWide;
  float4 total = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll
  for (int warp = 0; warp < kBackwardWarps; ++warp) {
    const float4 part = *reinterpret_cast<const float4*>(&shared.warp[warp].parts[line][column]);
    total = make_float4(total.x + part.x, total.y + part.y, total.z + part.z, total.w + part.w);
  }
  if (line < remaining) *reinterpret_cast<float4*>(parts + line * part_stride + column) = total;
}

/// Adds up what the threads of a warp summed of the same four channels, and writes one number a channel.
__device__ void write_vector(float (&values)[kWide], int count, float* out) {
  constexpr unsigned kAll = 0xffffffffu;
#pragma unroll
  for (int k = 0; k < kWide; ++k) {
#pragma unroll
    for (int apart = BackwardLayout::kQuads; apart < kWarp; apart *= 2) {
      values[k] += __shfl_xor_sync(kAll, values[k], apart);
    }
    if (BackwardLayout::row() == 0 && k < count) out[k] = values[k];
  }
}

/// What a thread carries as it enters its segment from the right.
__device__ Recurrence enter(const BackwardArguments& args, const ChannelStates (&states)[kOwn], int order,
                            int64_t segment_index) {
  Recurrence own = {};
#pragma unroll
  for (int j = 0; j < kOwn; ++j) {
    states[j].decays(own.a[j]);
    reorder(own.a[j], order);
    if (args.incoming != nullptr) {
      states[j].read_padded(args.incoming, segment_index, own.carry[j]);
    } else {
      states[j].read(args.dh_last, own.carry[j]);
    }
    reorder(own.carry[j], order);
  }
  return own;
}

/// Writes what it leaves it with: its part of dA, and from the first segment the gradient of the initial state.
__device__ void leave(const BackwardArguments& args, const ChannelStates (&states)[kOwn], int order,
                      int64_t segment_index, Recurrence& own) {
#pragma unroll
  for (int j = 0; j < kOwn; ++j) {
    reorder(own.da[j], order);
    states[j].write_padded(args.a_parts, segment_index, own.da[j]);
    if (args.out.dh0 == nullptr || blockIdx.y > 0) continue;
    reorder(own.carry[j], order);
    states[j].write(args.out.dh0, own.carry[j]);
  }
}

template <typename T, bool kPlain>
__device__ inline Sink<T, kPlain> sink_at(const BackwardArguments& args, int64_t batch, int64_t step, int64_t column,
                                          int count) {
  const Scan& scan = args.pass.scan;
  Sink<T, kPlain> sink{
      Cursor<T>(args.out.dx, batch, step, column), Cursor<T>(args.out.ddelta, batch, step, column),
      Cursor<T>(args.out.dz, batch, step, column),
      kPlain || args.sums == nullptr ? nullptr : args.sums + (batch * scan.length + step) * scan.channels + column,
      count};
  read_vector(scan.d, column, count, sink.skip);
  return sink;
}

__device__ inline SavedStates saved_at(const BackwardArguments& args, const ChannelStates (&states)[kOwn],
                                       int64_t tile) {
  const int64_t channels = args.pass.scan.channels;
  SavedStates saved{{}, {}, channels * kStates};
#pragma unroll
  for (int j = 0; j < kOwn; ++j) {
    saved.at[j] = args.boundaries + states[j].padded(tile);
    saved.exists[j] = states[j].channel < channels;
  }
  return saved;
}

/// kPlain: all is wide, and there is one pass of 16 states only.
template <typename T, bool kZoh, bool kPlain>
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
  const Place place;
  const int64_t warp_channel = first_channel + BackwardLayout::warp() * kOwnChannels;
  const ChannelStates states[kOwn] = {{pass, batch, warp_channel + place.own(0), place.lane},
                                      {pass, batch, warp_channel + place.own(1), place.lane}};
  Recurrence own = enter(args, states, place.order, segment_index);

  const int last_tile = static_cast<int>((end - begin - 1) / kTile * kTile);
  const int64_t first_step = begin + last_tile;
  Source<T> source(pass, args.dy, batch, first_step, first_channel);
  const int64_t column = Source<T>::column(first_channel);
  float bias[kWide];
  read_vector(scan.bias, column, source.channels, bias);

  Sink<T, kPlain> sink = sink_at<T, kPlain>(args, batch, first_step + BackwardLayout::row(), column, source.channels);
  const int64_t part_stride = static_cast<int64_t>(gridDim.x) * 2 * kStates;
  float* parts = args.bc_parts + (batch * scan.length + first_step) * part_stride + blockIdx.x * 2 * kStates;
  SavedStates saved_states = saved_at(args, states, batch * boundary_count(scan.length) + first_step / kBoundary);
  int remaining = static_cast<int>(end - first_step);
  for (int steps = last_tile; steps >= 0; steps -= kTile) {
    LoadedTile<T, BackwardLayout> loaded;
    float h[kOwn][kLaneStates];
    saved_states.load(place.order, h);
    source.template load<kPlain>(remaining, loaded);
    prepare<T, kZoh>(pass, loaded, remaining, bias, tile);
    prepare_states<T>(loaded, shared);
    __syncthreads();  // B and C are there; nobody reads the last tile's parts any more
    source.move(-kTile);
    if (steps > 0) {
      source.touch_tile();
      saved_states.touch_next();
    }
    run_tile<kZoh>(shared, tile, place, steps == last_tile, own, h);
    __syncwarp();
    finish<T, kZoh, kPlain>(pass, tile, remaining, sink);
    sink.move(-kTile, scan.channels);
    __syncthreads();  // all warps' parts are there; nobody reads B and C any more
    write_parts(shared, parts, part_stride, remaining);
    parts -= kTile * part_stride;
    remaining = kTile;
  }
  leave(args, states, place.order, segment_index, own);
  if (!kPlain && !pass.last) return;
  float* const vectors = args.vector_parts + segment_index * 2 * scan.channels + column;
  write_vector(sink.dd, sink.count, vectors);
  write_vector(sink.dbias, sink.count, vectors + scan.channels);
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
    const dim3 carry_grid(ceil_divide(scan.channels, kCarryChannels), pass.segments - 1, scan.batch);
    carry_backward<T><<<carry_grid, kCarryThreads, 0, stream>>>(carry);
    chain_segments(pass, args.dh_last, carry.states, carry.decays, Direction::backward, nullptr, stream);
  }
  const bool plain = pass.wide && pass.wide_states && args.sums == nullptr;
  const auto kernel = plain ? run_backward<T, kZoh, true> : run_backward<T, kZoh, false>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(BackwardShared));
  if (error != cudaSuccess) return error;
  kernel<<<grid, kThreads, sizeof(BackwardShared), stream>>>(args);
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

/// As many segments as the card has room for blocks side by side. Where these are many, what they cost ahead is much
/// the same for more of them, and shorter ones end closer together.
int segment_count(const Scan& scan, int multiprocessors) {
  constexpr int64_t kMany = 8;
  constexpr int64_t kShortest = 16 * kTile;
  const int64_t blocks = ceil_divide(scan.channels, kChannels) * scan.batch;
  const int64_t side_by_side = std::max<int64_t>(1, kBlocksPerProcessor * multiprocessors / blocks);
  const int64_t wanted = side_by_side > kMany ? 2 * side_by_side : side_by_side;
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
