// The scan's two primitives for CUDA tensors, in LibTorch's dispatcher.
#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "scan_cuda.h"

namespace colonnade::mamba_cuda {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Forward = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using Backward = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Element element_of(const at::Tensor& x) {
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

void check(const at::Tensor& tensor, const char* name, at::IntArrayRef sizes, at::ScalarType type,
           const at::Tensor& x) {
  TORCH_CHECK(tensor.sizes() == sizes, "selective_scan: ", name, " is ", tensor.sizes(), ", expected ", sizes);
  TORCH_CHECK(tensor.scalar_type() == type && tensor.device() == x.device(), "selective_scan: ", name, " is ",
              tensor.scalar_type(), " on ", tensor.device(), ", expected ", type, " on ", x.device());
}

/// [B, L, width] with a dense last dimension, copied where it is not.
at::Tensor rows(const at::Tensor& tensor) {
  return tensor.stride(-1) == 1 ? tensor : tensor.contiguous();
}

Sequence sequence(const at::Tensor& tensor) {
  return {const_cast<void*>(tensor.const_data_ptr()), tensor.stride(0), tensor.stride(1)};
}

const float* numbers(const at::Tensor& tensor) {
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
cudaStream_t current_stream(const at::Tensor& tensor) {
  const c10::impl::VirtualGuardImpl device(c10::DeviceType::CUDA);
  return static_cast<cudaStream_t>(device.getStreamNativeHandle(device.getStream(tensor.device())));
}

int multiprocessors(const at::Tensor& tensor) {
  int count = 0;
  const cudaError_t error = cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, tensor.device().index());
  TORCH_CHECK(error == cudaSuccess, "selective_scan: ", cudaGetErrorString(error));
  return count;
}

at::Tensor scratch(size_t bytes, const at::Tensor& like) {
  return at::empty({static_cast<int64_t>(bytes)}, like.options().dtype(at::kByte));
}

void check_launch(cudaError_t error) {
  TORCH_CHECK(error == cudaSuccess, "selective_scan: the CUDA kernels failed: ", cudaGetErrorString(error));
}

Forward forward_cuda(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                     const at::Tensor& c, const OptionalTensor& d, const OptionalTensor& h0,
                     std::string_view discretization, bool save) {
  const Inputs in(x, delta, a, b, c, d, h0, discretization);
  const c10::DeviceGuard guard(x.device());
  at::Tensor y = at::empty(x.sizes(), x.options());
  const auto floats = x.options().dtype(at::kFloat);
  at::Tensor h_last = at::empty({in.scan.batch, in.scan.channels, in.scan.states}, floats);
  at::Tensor boundaries = at::empty({save ? boundary_elements(in.scan) : 0}, floats);
  if (x.numel() == 0) {
    h_last = h0.has_value() ? h0->clone() : at::zeros_like(h_last);
    return {y, h_last, boundaries};
  }
  const int processors = multiprocessors(x);
  const at::Tensor workspace = scratch(forward_workspace(in.scan, processors), x);
  const ForwardOutputs out{sequence(y), h_last.mutable_data_ptr<float>(),
                           save ? boundaries.mutable_data_ptr<float>() : nullptr};
  check_launch(scan_forward(in.scan, out, workspace.mutable_data_ptr(), processors, current_stream(x)));
  return {y, h_last, boundaries};
}

Backward backward_cuda(const at::Tensor& dy, const OptionalTensor& dh_last, const at::Tensor& x,
                       const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
                       const OptionalTensor& d, const OptionalTensor& h0, const at::Tensor& boundaries,
                       std::string_view discretization) {
  const Inputs in(x, delta, a, b, c, d, h0, discretization);
  TORCH_CHECK(x.numel() == 0 || boundaries.numel() == boundary_elements(in.scan),
              "selective_scan_backward: the forward pass saved no states for these sizes");
  check(dy, "the gradient of y", x.sizes(), x.scalar_type(), x);
  const c10::DeviceGuard guard(x.device());
  const auto like = [](const at::Tensor& tensor) {
    return tensor.defined() ? at::zeros(tensor.sizes(), tensor.options()) : at::Tensor();
  };
  Backward gradients{like(in.x), like(in.delta), like(in.a), like(in.b), like(in.c), like(in.d), like(in.h0)};
  if (x.numel() == 0) {
    if (h0.has_value() && dh_last.has_value()) std::get<6>(gradients).copy_(*dh_last);
    return gradients;
  }
  const at::Tensor dense_dy = rows(dy);
  const at::Tensor dense_dh_last = dh_last.has_value() ? dh_last->contiguous() : at::Tensor();
  auto& [dx, ddelta, da, db, dc, dd, dh0] = gradients;
  const auto floats = [](const at::Tensor& t) { return t.defined() ? t.mutable_data_ptr<float>() : nullptr; };
  BackwardOutputs out;
  out.dx = sequence(dx);
  out.ddelta = sequence(ddelta);
  out.db = sequence(db);
  out.dc = sequence(dc);
  out.da = floats(da);
  out.dd = floats(dd);
  out.dh0 = floats(dh0);
  const int processors = multiprocessors(x);
  const at::Tensor workspace = scratch(backward_workspace(in.scan, processors), x);
  check_launch(scan_backward(in.scan, sequence(dense_dy), numbers(dense_dh_last), numbers(boundaries), out,
                             workspace.mutable_data_ptr(), processors, current_stream(x)));
  return gradients;
}

TORCH_LIBRARY_IMPL(mamba, CUDA, library) {
  library.impl("selective_scan_forward", forward_cuda);
  library.impl("selective_scan_backward", backward_cuda);
}

}  // namespace
}  // namespace colonnade::mamba_cuda
