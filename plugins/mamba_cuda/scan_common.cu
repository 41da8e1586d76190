// The small kernels between the large ones.
#include "scan_launch.cuh"

namespace colonnade::mamba_cuda {
namespace {

constexpr int kThreads = 128;

__global__ void chain(const Pass pass, const float* start, float* states, const float* decays, bool forward,
                      float* leaving) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t per_batch = pass.scan.channels * kStates;
  if (index >= pass.scan.batch * per_batch) return;
  const int64_t batch = index / per_batch;
  const int64_t channel = index % per_batch / kStates;
  const int state = static_cast<int>(index % kStates);
  const int64_t dense = (batch * pass.scan.channels + channel) * pass.scan.states + state;
  const bool valid = state < pass.states;
  float carried = valid && start != nullptr ? start[dense] : 0.f;
  // Loads of eight segments are in flight at once; the chain itself is short.
  constexpr int kAhead = 8;
  for (int i = 0; i < pass.segments; i += kAhead) {
    float own[kAhead];
    float decay[kAhead];
    int64_t place[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      const bool inside = i + k < pass.segments;
      const int segment = forward ? i + k : pass.segments - 1 - i - k;
      place[k] = (batch * pass.segments + (inside ? segment : 0)) * per_batch + index % per_batch;
      // What the last segment adds is there only where something receives it.
      const bool adds = i + k + 1 < pass.segments || (inside && leaving != nullptr);
      own[k] = adds ? states[place[k]] : 0.f;
      decay[k] = adds ? decays[place[k]] : 1.f;
    }
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      if (i + k < pass.segments) states[place[k]] = carried;
      carried = fmaf(decay[k], carried, own[k]);
    }
  }
  if (valid && leaving != nullptr) leaving[dense] = carried;
}

}  // namespace

void chain_segments(const Pass& pass, const float* start, float* states, const float* decays, Direction direction,
                    float* leaving, cudaStream_t stream) {
  const int64_t count = pass.scan.batch * pass.scan.channels * kStates;
  chain<<<static_cast<unsigned>(ceil_divide(count, kThreads)), kThreads, 0, stream>>>(
      pass, start, states, decays, direction == Direction::forward, leaving);
}

}  // namespace colonnade::mamba_cuda
