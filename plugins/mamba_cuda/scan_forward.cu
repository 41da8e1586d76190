// The forward pass. A block takes 32 channels of one batch and one segment of the sequence, 32 steps at a time: its
// threads first prepare the step sizes, an element each, then run the recurrence, four lanes a channel, then gate and
// store.
//
// Where batch x channels fill too little of the card, the sequence is cut into segments: a first kernel computes what
// each segment alone adds to the state, from its end backwards until the decay is negligible; a second, tiny one chains
// these into the state every segment starts from.
#include <algorithm>

#include "scan_device.cuh"
#include "scan_launch.cuh"
#include "scan_tile.cuh"

namespace colonnade::mamba_cuda {
namespace {

constexpr int kTile = 32;
constexpr int kChannels = 32;
constexpr int kThreads = kChannels * kLanes;
using Layout = BlockLayout<kTile, kChannels>;
constexpr int kQuads = Layout::kQuads;
constexpr int kRows = Layout::kRows;
constexpr int kTurns = Layout::kTurns;
static_assert(kTile * kLanes == kThreads, "a thread loads one quad of B and of C a tile");
template <typename T>
using Loaded = LoadedTile<T, Layout>;
template <typename T>
using Source = TileSource<T, Layout>;

constexpr int kPaddedChannels = kChannels + 8;  // rows of y 8 banks apart
constexpr int kBlocksPerProcessor = 4;

struct ForwardArguments {
  Pass pass;
  ForwardOutputs out;
  const float* incoming = nullptr;  // [B, segments, D, 16] states the segments start from; null: h0
  float* sums = nullptr;            // [B, L, D] of sum C h over the passes; null for a single pass
};

struct Shared {
  float2 step[kTile][kChannels];  // step size; what B is multiplied by
  float4 b[kTile][kLanes];
  float4 c[kTile][kLanes];
  float y[kTile][kPaddedChannels];
};

template <typename T, bool kZoh>
__device__ void prepare(const Pass& pass, const Loaded<T>& in, int remaining, const float (&bias)[kWide],
                        Shared& shared) {
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    const int line = threadIdx.x / kQuads + i * kRows;
    const bool valid = line < remaining;  // steps behind the end leave the state alone
    float x[kWide];
    float raw[kWide];
    float delta[kWide];
    float input[kWide];
    to_floats<T>(in.x[i], x);
    to_floats<T>(in.delta[i], raw);
#pragma unroll
    for (int k = 0; k < kWide; ++k) raw[k] += bias[k];
    step_sizes(raw, pass.scan.softplus, delta);
#pragma unroll
    for (int k = 0; k < kWide; ++k) {
      delta[k] = valid ? delta[k] : 0.f;
      input[k] = kZoh ? x[k] : delta[k] * x[k];
    }
    float4* const to = reinterpret_cast<float4*>(&shared.step[line][threadIdx.x % kQuads * kWide]);
    to[0] = make_float4(delta[0], input[0], delta[1], input[1]);
    to[1] = make_float4(delta[2], input[2], delta[3], input[3]);
  }
  shared.b[threadIdx.x / kLanes][threadIdx.x % kLanes] = to_float4<T>(in.b[0]);
  shared.c[threadIdx.x / kLanes][threadIdx.x % kLanes] = to_float4<T>(in.c[0]);
}

/// One step of four states; returns their part of y.
template <bool kZoh>
__device__ inline float advance(const float2& step, const float4& b4, const float4& c4, const float (&a)[4],
                                float (&h)[4]) {
  float b[kLaneStates];
  float c[kLaneStates];
  unpack(b4, b);
  unpack(c4, c);
  float y = 0.f;
#pragma unroll
  for (int k = 0; k < kLaneStates; ++k) {
    const float z = step.x * a[k];
    const float decay = exp2_fast(z);
    const float held = kZoh ? held_ratio(decay, z * kLn2) * step.x : 1.f;
    h[k] = fmaf(decay, h[k], (kZoh ? held * step.y : step.y) * b[k]);
    y = fmaf(h[k], c[k], y);
  }
  return y;
}

/// Half a tile, from one state that is saved to the next.
template <bool kZoh>
__device__ void run_steps(Shared& shared, int channel, int lane, const float (&a)[kLaneStates], float (&h)[kLaneStates],
                          int begin) {
#pragma unroll
  for (int line = 0; line < kBoundary; line += kLanes) {
    float parts[kLanes];
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      const int at = begin + line + i;
      parts[i] = advance<kZoh>(shared.step[at][channel], shared.b[at][lane], shared.c[at][lane], a, h);
    }
    shared.y[begin + line + lane][channel] = sum_over_lanes(parts, lane);
  }
}

template <typename T>
__device__ void store(const ForwardArguments& args, const Shared& shared, const Cursor<T>& to, float* sums,
                      int channels, int remaining, const float (&skip)[kWide], const Quad<T> (&x)[kTurns],
                      const Quad<T> (&z)[kTurns]) {
  const Pass& pass = args.pass;
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    const int line = threadIdx.x / kQuads + i * kRows;
    const int count = line < remaining ? channels : 0;
    float y[kWide];
    unpack(*reinterpret_cast<const float4*>(&shared.y[line][threadIdx.x % kQuads * kWide]), y);
    if (sums != nullptr) {
      float* const sum = sums + i * kRows * pass.scan.channels;
#pragma unroll
      for (int k = 0; k < kWide; ++k) {
        if (k < count && !pass.first) y[k] += sum[k];
        if (k < count && !pass.last) sum[k] = y[k];
      }
      if (!pass.last) continue;
    }
    float inputs[kWide];
    to_floats<T>(x[i], inputs);
#pragma unroll
    for (int k = 0; k < kWide; ++k) y[k] = fmaf(skip[k], inputs[k], y[k]);
    if (pass.scan.z.data != nullptr) {
      float gate[kWide];
      to_floats<T>(z[i], gate);
#pragma unroll
      for (int k = 0; k < kWide; ++k) y[k] *= gate[k] * sigmoid(gate[k]);
    }
    store_quad<T>(to.at + i * kRows * to.stride, from_floats<T>(y), count, pass.wide);
  }
}

template <typename T, bool kZoh>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor) run_forward(const ForwardArguments args) {
  __shared__ Shared shared;
  const Pass& pass = args.pass;
  const Scan& scan = pass.scan;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.x) * kChannels;
  const int segment = blockIdx.y;
  const int64_t batch = blockIdx.z;
  const int64_t begin = static_cast<int64_t>(segment) * pass.segment_steps;
  const int64_t end = min(scan.length, begin + pass.segment_steps);

  const int channel = own_channel();
  const int lane = own_lane();
  const ChannelStates place{pass, batch, first_channel + channel, lane};
  float a[kLaneStates];
  float h[kLaneStates];
  place.decays(a);
  if (args.incoming != nullptr) {
    place.read_padded(args.incoming, batch * pass.segments + segment, h);
  } else {
    place.read(scan.h0, h);
  }

  Source<T> source(pass, Sequence{}, batch, begin, first_channel);
  const int64_t column = Source<T>::column(first_channel);
  Cursor<T> to(args.out.y, batch, begin + threadIdx.x / kQuads, column);
  float* sums = args.sums == nullptr
                    ? nullptr
                    : args.sums + (batch * scan.length + begin + threadIdx.x / kQuads) * scan.channels + column;
  float bias[kWide];
  float skip[kWide];
  read_vector(scan.bias, column, source.channels, bias);
  read_vector(scan.d, column, source.channels, skip);
  float* boundary = args.out.boundaries;
  if (boundary != nullptr) boundary += place.padded(batch * boundary_count(scan.length) + begin / kBoundary);

  Loaded<T> next;
  int remaining = static_cast<int>(end - begin);
  source.load(remaining, next);
  for (; remaining > 0; remaining -= kTile) {
    prepare<T, kZoh>(pass, next, remaining, bias, shared);
    Quad<T> x[kTurns];
    Quad<T> z[kTurns];
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      x[i] = next.x[i];
      z[i] = next.z[i];
    }
    __syncthreads();
    source.move(kTile);
    if (remaining > kTile) source.load(remaining - kTile, next);
#pragma unroll 1
    for (int part = 0; part < kTile; part += kBoundary) {
      if (boundary != nullptr) {
        if (part < remaining && first_channel + channel < scan.channels) {
          *reinterpret_cast<float4*>(boundary) = make_float4(h[0], h[1], h[2], h[3]);
        }
        boundary += scan.channels * kStates;
      }
      run_steps<kZoh>(shared, channel, lane, a, h, part);
    }
    __syncthreads();
    store<T>(args, shared, to, sums, source.channels, remaining, skip, x, z);
    to.move(kTile);
    if (sums != nullptr) sums += kTile * scan.channels;
  }
  if (end == scan.length && args.out.h_last != nullptr) place.write(args.out.h_last, h);
}

struct CarryArguments {
  Pass pass;
  float* states = nullptr;  // [B, segments, D, 16]: what a segment adds to the state behind it
  float* decays = nullptr;  // likewise: by what it multiplies the state before it
};

template <typename T, bool kZoh>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor) carry_forward(const CarryArguments args) {
  __shared__ Shared shared;
  const Pass& pass = args.pass;
  const Scan& scan = pass.scan;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.x) * kChannels;
  const int64_t batch = blockIdx.z;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * pass.segment_steps;
  const int64_t end = min(scan.length, begin + pass.segment_steps);
  const int channel = own_channel();
  const int lane = own_lane();
  const ChannelStates place{pass, batch, first_channel + channel, lane};
  float a[kLaneStates];
  place.decays(a);
  float h[kLaneStates] = {};
  float product[kLaneStates] = {1.f, 1.f, 1.f, 1.f};

  const int last_tile = static_cast<int>((end - begin - 1) / kTile * kTile);
  Source<T> source(pass, Sequence{}, batch, begin + last_tile, first_channel);
  float bias[kWide];
  read_vector(scan.bias, Source<T>::column(first_channel), source.channels, bias);
  Loaded<T> next;
  int remaining = static_cast<int>(end - begin) - last_tile;
  source.load(remaining, next);
  bool alive = true;
  for (int tile = last_tile; tile >= 0 && alive; tile -= kTile) {
    prepare<T, kZoh>(pass, next, remaining, bias, shared);
    remaining = kTile;
    __syncthreads();
    source.move(-kTile);
    if (tile > 0) source.load(kTile, next);
#pragma unroll 4
    for (int line = kTile - 1; line >= 0; --line) {
      const float2 step = shared.step[line][channel];
      float b[kLaneStates];
      unpack(shared.b[line][lane], b);
#pragma unroll
      for (int k = 0; k < kLaneStates; ++k) {
        const float z = step.x * a[k];
        const float decay = exp2_fast(z);
        const float held = kZoh ? held_ratio(decay, z * kLn2) * step.x * step.y : step.y;
        h[k] = fmaf(product[k], held * b[k], h[k]);
        product[k] *= decay;
      }
    }
    const float largest = fmaxf(fmaxf(product[0], product[1]), fmaxf(product[2], product[3]));
    // Padding never decays and has nothing to carry.
    alive = __syncthreads_or(place.inside() && largest > kNegligible);
  }
#pragma unroll
  for (int k = 0; k < kLaneStates; ++k) product[k] = alive ? product[k] : 0.f;
  const int64_t index = batch * pass.segments + blockIdx.y;
  place.write_padded(args.states, index, h);
  place.write_padded(args.decays, index, product);
}

template <typename T, bool kZoh>
cudaError_t launch(const ForwardArguments& forward, const CarryArguments& carry, cudaStream_t stream) {
  const Pass& pass = forward.pass;
  const dim3 grid(ceil_divide(pass.scan.channels, kChannels), pass.segments, pass.scan.batch);
  if (pass.segments > 1) {
    const dim3 followed(grid.x, grid.y - 1, grid.z);  // the last segment's state is needed by none
    carry_forward<T, kZoh><<<followed, kThreads, 0, stream>>>(carry);
    chain_segments(pass, pass.scan.h0, carry.states, carry.decays, Direction::forward, nullptr, stream);
  }
  run_forward<T, kZoh><<<grid, kThreads, 0, stream>>>(forward);
  return cudaGetLastError();
}

int segment_count(const Scan& scan, int multiprocessors) {
  const int64_t blocks = ceil_divide(scan.channels, kChannels) * scan.batch;
  // Cutting costs each exponential twice: it pays below 1.4 blocks a processor, and is then done thoroughly.
  constexpr double kEnough = 1.4;
  if (static_cast<double>(blocks) >= kEnough * multiprocessors) return 1;
  constexpr int64_t kWaves = 4;
  constexpr int64_t kShortest = 8 * kTile;
  const int64_t wanted = ceil_divide(kWaves * kBlocksPerProcessor * multiprocessors, blocks);
  return whole_segments(scan, std::clamp<int64_t>(scan.length / kShortest, 1, wanted), kTile);
}

struct Workspace {
  float* carry = nullptr;
  float* decays = nullptr;
  float* sums = nullptr;
  size_t bytes = 0;
};

Workspace divide(const Scan& scan, int multiprocessors, void* base) {
  Arena arena(base);
  Workspace out;
  const int segments = segment_count(scan, multiprocessors);
  const int64_t carried = segments > 1 ? scan.batch * segments * scan.channels * kStates : 0;
  out.carry = arena.take(carried);
  out.decays = arena.take(carried);
  if (scan.states > kStates) out.sums = arena.take(scan.batch * scan.length * scan.channels);
  out.bytes = arena.bytes();
  return out;
}

}  // namespace

int64_t boundary_elements(const Scan& scan) {
  return ceil_divide(scan.states, kStates) * scan.batch * boundary_count(scan.length) * scan.channels * kStates;
}

size_t forward_workspace(const Scan& scan, int multiprocessors) {
  return divide(scan, multiprocessors, nullptr).bytes;
}

cudaError_t scan_forward(const Scan& scan, const ForwardOutputs& out, void* workspace, int multiprocessors,
                         cudaStream_t stream) {
  const Workspace space = divide(scan, multiprocessors, workspace);
  const int segments = segment_count(scan, multiprocessors);
  return for_each_pass(
      scan, {&scan.x, &scan.delta, &scan.z, &out.y}, segments, kTile, [&](const Pass& pass, int index) {
        ForwardArguments forward{pass, out, segments > 1 ? space.carry : nullptr, space.sums};
        if (out.h_last != nullptr) forward.out.h_last = out.h_last + index * kStates;
        if (out.boundaries != nullptr) {
          forward.out.boundaries = out.boundaries + index * (boundary_elements(scan) / pass_count(scan));
        }
        const CarryArguments carry{pass, space.carry, space.decays};
        return dispatch(scan, [&](auto element, auto zoh) {
          return launch<typename decltype(element)::type, decltype(zoh)::value>(forward, carry, stream);
        });
      });
}

}  // namespace colonnade::mamba_cuda
