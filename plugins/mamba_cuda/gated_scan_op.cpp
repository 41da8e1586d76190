// The scan with its step sizes and its gate taken along, for CUDA tensors, in LibTorch's dispatcher.
#include <torch/library.h>

#include <tuple>

#include "scan_tensors.h"

namespace colonnade::mamba_cuda {
namespace {

using Tensor = at::Tensor;
using Forward = std::tuple<Tensor, Tensor>;
using Backward = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

/// With a bias and a gate, and step sizes that softplus is still to be taken of.
struct GatedInputs : Inputs {
  GatedInputs(const Tensor& x_in, const Tensor& delta_in, const OptionalTensor& bias_in, const Tensor& a_in,
              const Tensor& b_in, const Tensor& c_in, const Tensor& d_in, const Tensor& z_in,
              std::string_view discretization)
      : Inputs(x_in, delta_in, a_in, b_in, c_in, d_in, std::nullopt, discretization), z(rows(z_in)) {
    check(z_in, "z", x_in.sizes(), x_in.scalar_type(), x_in);
    scan.softplus = true;
    scan.z = sequence(z);
    if (!bias_in.has_value()) return;
    check(*bias_in, "the step size's bias", {x_in.size(2)}, at::kFloat, x_in);
    bias = bias_in->contiguous();
    scan.bias = numbers(bias);
  }

  Tensor z, bias;
};

Forward forward_cuda(const Tensor& x, const Tensor& delta, const OptionalTensor& bias, const Tensor& a, const Tensor& b,
                     const Tensor& c, const Tensor& d, const Tensor& z, std::string_view discretization, bool save) {
  const GatedInputs in(x, delta, bias, a, b, c, d, z, discretization);
  const c10::DeviceGuard guard(x.device());
  Tensor y = at::empty(x.sizes(), x.options());
  Tensor boundaries = at::empty({save ? boundary_elements(in.scan) : 0}, x.options().dtype(at::kFloat));
  if (x.numel() == 0) return {y, boundaries};
  enqueue_forward(in, {sequence(y), nullptr, save ? room(boundaries) : nullptr});
  return {y, boundaries};
}

Backward backward_cuda(const Tensor& dy, const Tensor& x, const Tensor& delta, const OptionalTensor& bias,
                       const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& d, const Tensor& z,
                       const Tensor& boundaries, std::string_view discretization) {
  const GatedInputs in(x, delta, bias, a, b, c, d, z, discretization);
  TORCH_CHECK(x.numel() > 0 && boundaries.numel() == boundary_elements(in.scan),
              "gated_scan_backward: the forward pass saved no states for these sizes");
  check(dy, "the gradient of y", x.sizes(), x.scalar_type(), x);
  const c10::DeviceGuard guard(x.device());
  Backward gradients{room_like(in.x), room_like(in.delta), room_like(in.bias), room_like(in.a),
                     room_like(in.b), room_like(in.c),     room_like(in.d),    room_like(in.z)};
  auto& [dx, ddelta, dbias, da, db, dc, dd, dz] = gradients;
  BackwardOutputs out = outputs(dx, ddelta, da, db, dc, dd);
  out.dz = sequence(dz);
  out.dbias = room(dbias);
  enqueue_backward(in, dy, at::Tensor(), boundaries, out);
  if (!dbias.defined()) dbias = at::empty({0}, a.options());
  return gradients;
}

TORCH_LIBRARY_IMPL(mamba, CUDA, library) {
  library.impl("gated_scan_forward", forward_cuda);
  library.impl("gated_scan_backward", backward_cuda);
}

}  // namespace
}  // namespace colonnade::mamba_cuda
