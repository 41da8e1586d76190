// How the threads of a block read a tile of the sequences: four neighbouring channels of a step each, some steps apart.
#pragma once

#include "scan_device.cuh"

namespace colonnade::mamba_cuda {

/// A tile is shared by a block of four threads a channel. A layout says which elements a thread takes: kTurns quads of
/// channels, kRows steps apart, and kStateTurns quads of states of B and C, kStateRows steps apart.
template <int kTileSteps, int kTileChannels>
struct BlockLayout {
  static constexpr int kTile = kTileSteps;
  static constexpr int kThreads = kTileChannels * kLanes;
  static constexpr int kQuads = kTileChannels / kWide;  // of a row of the tile
  static constexpr int kRows = kThreads / kQuads;
  static constexpr int kTurns = kTile / kRows;
  static constexpr int kStateRows = kThreads / kLanes;
  static constexpr int kStateTurns = (kTile + kStateRows - 1) / kStateRows;
  __device__ static int row() { return threadIdx.x / kQuads; }
  __device__ static int column() { return threadIdx.x % kQuads * kWide; }
  __device__ static int state_row() { return threadIdx.x / kLanes; }
};

/// A warp prepares its own kChannels, so that it waits for no other; kStatesToo: and has B and C to itself.
template <int kTileSteps, int kTileChannels, bool kStatesToo, int kChannels = kWarpChannels>
struct WarpLayout {
  static constexpr int kTile = kTileSteps;
  static constexpr int kThreads = kTileChannels / kChannels * kWarp;
  static constexpr int kQuads = kChannels / kWide;
  static constexpr int kRows = kWarp / kQuads;
  static constexpr int kTurns = kTile / kRows;
  static constexpr int kStateRows = (kStatesToo ? kWarp : kThreads) / kLanes;
  static constexpr int kStateTurns = (kTile + kStateRows - 1) / kStateRows;
  __device__ static int warp() { return threadIdx.x / kWarp; }
  __device__ static int row() { return threadIdx.x % kWarp / kQuads; }
  __device__ static int own_column() { return threadIdx.x % kQuads * kWide; }
  __device__ static int column() { return warp() * kChannels + own_column(); }
  __device__ static int state_row() { return (kStatesToo ? threadIdx.x % kWarp : threadIdx.x) / kLanes; }
};

/// The elements of a tile that one thread prepares, as loaded.
template <typename T, typename Layout>
struct LoadedTile {
  Quad<T> x[Layout::kTurns];
  Quad<T> delta[Layout::kTurns];
  Quad<T> z[Layout::kTurns];
  Quad<T> dy[Layout::kTurns];
  Quad<T> b[Layout::kStateTurns];  // four states of a step
  Quad<T> c[Layout::kStateTurns];
};

/// Where a thread reads the next tile. Absent sequences are read as zeros.
template <typename T, typename Layout>
struct TileSource {
  const Pass& pass;
  Cursor<T> x, delta, z, dy, b, c;
  bool has_gradient;
  int channels;  // of this thread's four that exist
  int states;

  __device__ TileSource(const Pass& pass_in, const Sequence& gradient, int64_t batch, int64_t step,
                        int64_t first_channel)
      : pass(pass_in),
        x(pass.scan.x, batch, step + Layout::row(), column(first_channel)),
        delta(pass.scan.delta, batch, step + Layout::row(), column(first_channel)),
        z(pass.scan.z, batch, step + Layout::row(), column(first_channel)),
        dy(gradient, batch, step + Layout::row(), column(first_channel)),
        b(pass.scan.b, batch, step + Layout::state_row(), state()),
        c(pass.scan.c, batch, step + Layout::state_row(), state()),
        has_gradient(gradient.data != nullptr),
        channels(static_cast<int>(min(static_cast<int64_t>(kWide), pass.scan.channels - column(first_channel)))),
        states(pass.states - state()) {}

  __device__ static int64_t column(int64_t first_channel) { return first_channel + Layout::column(); }
  __device__ static int state() { return threadIdx.x % kLanes * kLaneStates; }

  /// `remaining` steps are left from the tile's first one. kAllWide: all is known to be wide.
  template <bool kAllWide = false>
  __device__ void load(int remaining, LoadedTile<T, Layout>& out) const {
#pragma unroll
    for (int i = 0; i < Layout::kTurns; ++i) {
      const int line = Layout::row() + i * Layout::kRows;
      const int count = line < remaining ? channels : 0;
      out.x[i] = load_quad<T>(x.at + i * Layout::kRows * x.stride, count, kAllWide || pass.wide);
      out.delta[i] = load_quad<T>(delta.at + i * Layout::kRows * delta.stride, count, kAllWide || pass.wide);
      out.z[i] = pass.scan.z.data != nullptr
                     ? load_quad<T>(z.at + i * Layout::kRows * z.stride, count, kAllWide || pass.wide)
                     : zeros<T>();
      out.dy[i] =
          has_gradient ? load_quad<T>(dy.at + i * Layout::kRows * dy.stride, count, kAllWide || pass.wide) : zeros<T>();
    }
#pragma unroll
    for (int i = 0; i < Layout::kStateTurns; ++i) {
      const int line = Layout::state_row() + i * Layout::kStateRows;
      const int count = line < Layout::kTile && line < remaining ? states : 0;
      out.b[i] = load_quad<T>(b.at + i * Layout::kStateRows * b.stride, count, kAllWide || pass.wide_states);
      out.c[i] = load_quad<T>(c.at + i * Layout::kStateRows * c.stride, count, kAllWide || pass.wide_states);
    }
  }
  /// Has the tile brought nearer, all of whose steps exist.
  __device__ void touch_tile() const {
    if (channels <= 0) return;
#pragma unroll
    for (int i = 0; i < Layout::kTurns; ++i) {
      const int below = i * Layout::kRows;
      touch(x.at + below * x.stride);
      touch(delta.at + below * delta.stride);
      if (pass.scan.z.data != nullptr) touch(z.at + below * z.stride);
      if (has_gradient) touch(dy.at + below * dy.stride);
    }
  }
  __device__ void move(int steps) {
    x.move(steps);
    delta.move(steps);
    z.move(steps);
    dy.move(steps);
    b.move(steps);
    c.move(steps);
  }
};

template <typename T>
__device__ inline float4 to_float4(const Quad<T>& in) {
  float out[kWide];
  to_floats<T>(in, out);
  return make_float4(out[0], out[1], out[2], out[3]);
}

}  // namespace colonnade::mamba_cuda
