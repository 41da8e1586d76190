// The selective scan on CUDA, as functions on device pointers: no LibTorch. Same mathematics as
// ../mamba/selective_scan.h, with the step size's bias and softplus and the output's gate fused in:
//
//   delta = softplus(delta_raw + bias),  h_t = exp(delta_t A) h_{t-1} + Bbar_t x_t,  y_t = (sum_n C_t h_t + D x_t)
//   silu(z_t)
//
// x, delta, z, y and their gradients are [B, L, D]; B and C [B, L, N]; their last dimension is dense, the others have
// strides. A [D, N], D [D], bias [D] and states [B, D, N] are dense float32. Sums are taken in a fixed order: no
// atomics, the same bits in every run on the same kind of card.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace colonnade::mamba_cuda {

enum class Element { float32, float16, bfloat16 };

/// A [B, L, width] array whose last dimension is dense; null data: absent.
struct Sequence {
  void* data = nullptr;
  int64_t batch_stride = 0;
  int64_t time_stride = 0;
};

struct Scan {
  int64_t batch = 0;
  int64_t length = 0;
  int64_t channels = 0;
  int64_t states = 0;
  Element element = Element::float32;
  bool softplus = false;  // softplus of delta + bias; without it delta is taken as it stands (plus the bias, if any)
  bool zoh = false;       // the zero-order hold's (exp(delta A) - 1)/A B in place of delta B
  Sequence x, delta, z, b, c;
  const float* a = nullptr;
  const float* d = nullptr;     // null: no skip
  const float* bias = nullptr;  // null: none
  const float* h0 = nullptr;    // null: zero
};

struct ForwardOutputs {
  Sequence y;
  float* h_last = nullptr;
  float* boundaries = nullptr;  // boundary_elements(scan) numbers for the backward pass; null where none follows
};

/// Gradients shaped like their inputs; null or absent where not wanted is allowed for z, d, bias and h0 only.
struct BackwardOutputs {
  Sequence dx, ddelta, dz, db, dc;
  float* da = nullptr;
  float* dd = nullptr;
  float* dbias = nullptr;
  float* dh0 = nullptr;
};

int64_t boundary_elements(const Scan& scan);
/// Bytes of scratch memory that a pass wants on a card with so many multiprocessors.
size_t forward_workspace(const Scan& scan, int multiprocessors);
size_t backward_workspace(const Scan& scan, int multiprocessors);

/// Enqueues the pass on `stream`. `workspace` has at least the bytes asked for, 256-byte aligned. Returns the first
/// error of a launch.
cudaError_t scan_forward(const Scan& scan, const ForwardOutputs& out, void* workspace, int multiprocessors,
                         cudaStream_t stream);
cudaError_t scan_backward(const Scan& scan, const Sequence& dy, const float* dh_last, const float* boundaries,
                          const BackwardOutputs& out, void* workspace, int multiprocessors, cudaStream_t stream);

}  // namespace colonnade::mamba_cuda
