// A scan's tensors as the kernels want them, for the primitives in LibTorch's dispatcher.
#pragma once

#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>
#include <string>
#include <string_view>

#include "scan_cuda.h"

namespace colonnade::mamba_cuda {

using OptionalTensor = std::optional<at::Tensor>;
inline Element element_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return Element::float32;
    case at::kHalf:
      return Element::float16;
    case at::kBFloat16:
      return Element::bfloat16;
    default:
      TORCH_CHECK(false, "selective_scan: x is ", x.scalar_type(),
                  " on a CUDA device, allowed there are float, half and bfloat16");
  }
}

inline void check(const at::Tensor& tensor, const char* name, at::IntArrayRef sizes, at::ScalarType type,
                  const at::Tensor& x) {
  TORCH_CHECK(tensor.sizes() == sizes, "selective_scan: ", name, " is ", tensor.sizes(), ", expected ", sizes);
  TORCH_CHECK(tensor.scalar_type() == type && tensor.device() == x.device(), "selective_scan: ", name, " is ",
              tensor.scalar_type(), " on ", tensor.device(), ", expected ", type, " on ", x.device());
}

/// [B, L, width] with a dense last dimension, copied where it is not.
inline at::Tensor rows(const at::Tensor& tensor) {
  return tensor.stride(-1) == 1 ? tensor : tensor.contiguous();
}

inline Sequence sequence(const at::Tensor& tensor) {
  return {const_cast<void*>(tensor.const_data_ptr()), tensor.stride(0), tensor.stride(1)};
}

inline const float* numbers(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

/// The inputs of a scan, checked and held while their pointers are in use.
struct Inputs {
  Inputs(const at::Tensor& x_in, const at::Tensor& delta_in, const at::Tensor& a_in, const at::Tensor& b_in,
         const at::Tensor& c_in, const OptionalTensor& d_in, const OptionalTensor& h0_in,
         std::string_view discretization) {
    TORCH_CHECK(x_in.dim() == 3 && a_in.dim() == 2, "selective_scan: x is ", x_in.sizes(), " and A is ", a_in.sizes(),
                ", expected [B, L, D] and [D, N]");
    TORCH_CHECK(discretization == "mamba" || discretization == "zoh", "discretization is '",
                std::string(discretization), "', allowed are mamba, zoh");
    constexpr int64_t kMostStates = 256;
    const int64_t states = a_in.size(1);
    TORCH_CHECK(states >= 1 && states <= kMostStates, "selective_scan: A has ", states, " states, allowed are 1 to ",
                kMostStates);
    scan.element = element_of(x_in);
    const at::ScalarType type = x_in.scalar_type();
    check(delta_in, "delta", x_in.sizes(), type, x_in);
    check(a_in, "A", {x_in.size(2), states}, at::kFloat, x_in);
    check(b_in, "B", {x_in.size(0), x_in.size(1), states}, type, x_in);
    check(c_in, "C", {x_in.size(0), x_in.size(1), states}, type, x_in);
    if (d_in.has_value()) check(*d_in, "D", {x_in.size(2)}, at::kFloat, x_in);
    if (h0_in.has_value()) check(*h0_in, "h0", {x_in.size(0), x_in.size(2), states}, at::kFloat, x_in);
    x = rows(x_in);
    delta = rows(delta_in);
    b = rows(b_in);
    c = rows(c_in);
    a = a_in.contiguous();
    if (d_in.has_value()) d = d_in->contiguous();
    if (h0_in.has_value()) h0 = h0_in->contiguous();
    scan.batch = x.size(0);
    scan.length = x.size(1);
    scan.channels = x.size(2);
    scan.states = states;
    scan.zoh = discretization == "zoh";
    scan.x = sequence(x);
    scan.delta = sequence(delta);
    scan.b = sequence(b);
    scan.c = sequence(c);
    scan.a = numbers(a);
    scan.d = numbers(d);
    scan.h0 = numbers(h0);
  }

  at::Tensor x, delta, a, b, c, d, h0;
  Scan scan;
};

/// LibTorch's current stream on the tensor's device; asked through the device's interface, so that nothing of
/// libtorch_cuda is linked.
inline cudaStream_t current_stream(const at::Tensor& tensor) {
  const c10::impl::VirtualGuardImpl device(c10::DeviceType::CUDA);
  return static_cast<cudaStream_t>(device.getStreamNativeHandle(device.getStream(tensor.device())));
}

inline int multiprocessors(const at::Tensor& tensor) {
  int count = 0;
  const cudaError_t error = cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, tensor.device().index());
  TORCH_CHECK(error == cudaSuccess, "selective_scan: ", cudaGetErrorString(error));
  return count;
}

inline at::Tensor scratch(size_t bytes, const at::Tensor& like) {
  return at::empty({static_cast<int64_t>(bytes)}, like.options().dtype(at::kByte));
}

inline void check_launch(cudaError_t error) {
  TORCH_CHECK(error == cudaSuccess, "selective_scan: the CUDA kernels failed: ", cudaGetErrorString(error));
}

/// Memory like the tensor's for a gradient that a kernel writes whole; undefined where there is none.
inline at::Tensor room_like(const at::Tensor& tensor) {
  return tensor.defined() ? at::empty(tensor.sizes(), tensor.options()) : at::Tensor();
}

inline float* room(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<float>() : nullptr;
}

/// Where the gradients that every scan has are written.
inline BackwardOutputs outputs(const at::Tensor& dx, const at::Tensor& ddelta, const at::Tensor& da,
                               const at::Tensor& db, const at::Tensor& dc, const at::Tensor& dd) {
  BackwardOutputs out;
  out.dx = sequence(dx);
  out.ddelta = sequence(ddelta);
  out.db = sequence(db);
  out.dc = sequence(dc);
  out.da = room(da);
  out.dd = room(dd);
  return out;
}

inline void enqueue_forward(const Inputs& in, const ForwardOutputs& out) {
  const int processors = multiprocessors(in.x);
  const at::Tensor workspace = scratch(forward_workspace(in.scan, processors), in.x);
  check_launch(scan_forward(in.scan, out, workspace.mutable_data_ptr(), processors, current_stream(in.x)));
}

inline void enqueue_backward(const Inputs& in, const at::Tensor& dy, const at::Tensor& dh_last,
                             const at::Tensor& boundaries, const BackwardOutputs& out) {
  const at::Tensor dense_dy = rows(dy);
  const int processors = multiprocessors(in.x);
  const at::Tensor workspace = scratch(backward_workspace(in.scan, processors), in.x);
  check_launch(scan_backward(in.scan, sequence(dense_dy), numbers(dh_last), numbers(boundaries), out,
                             workspace.mutable_data_ptr(), processors, current_stream(in.x)));
}

}  // namespace colonnade::mamba_cuda
