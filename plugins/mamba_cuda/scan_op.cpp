// The scan's two primitives for CUDA tensors, in LibTorch's dispatcher.
#include <torch/library.h>

#include <tuple>

#include "scan_tensors.h"

namespace colonnade::mamba_cuda {
namespace {

using Forward = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using Backward = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

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
  enqueue_forward(in, {sequence(y), room(h_last), save ? room(boundaries) : nullptr});
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
  Backward gradients{room_like(in.x), room_like(in.delta), room_like(in.a), room_like(in.b),
                     room_like(in.c), room_like(in.d),     room_like(in.h0)};
  if (x.numel() == 0) {
    std::apply([](auto&... gradient) { ((gradient.defined() ? void(gradient.zero_()) : void()), ...); }, gradients);
    if (h0.has_value() && dh_last.has_value()) std::get<6>(gradients).copy_(*dh_last);
    return gradients;
  }
  auto& [dx, ddelta, da, db, dc, dd, dh0] = gradients;
  BackwardOutputs out = outputs(dx, ddelta, da, db, dc, dd);
  out.dh0 = room(dh0);
  enqueue_backward(in, dy, dh_last.has_value() ? dh_last->contiguous() : at::Tensor(), boundaries, out);
  return gradients;
}

TORCH_LIBRARY_IMPL(mamba, CUDA, library) {
  library.impl("selective_scan_forward", forward_cuda);
  library.impl("selective_scan_backward", backward_cuda);
}

}  // namespace
}  // namespace colonnade::mamba_cuda
