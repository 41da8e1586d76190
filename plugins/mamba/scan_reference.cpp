#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <vector>

#include "scan_op.h"

namespace colonnade::mamba {
namespace {

/// Bbar / B for one step: delta, or (exp(delta A) - 1)/A, [B, D, N]. Where A is 0, its series about 0 stands for the
/// quotient, and the quotient is taken of another number, so that neither the value nor a gradient is 0 times infinity.
at::Tensor held_input(const at::Tensor& delta, const at::Tensor& a, Discretization discretization) {
  const at::Tensor wide = delta.unsqueeze(-1);
  if (discretization == Discretization::mamba) return wide;
  const at::Tensor zero = a.eq(0);
  const at::Tensor divisor = at::where(zero, at::ones_like(a), a);
  const at::Tensor z = wide * a;
  return at::where(zero, wide * (1 + z / 2), at::expm1(z) / divisor);
}

}  // namespace

ScanResult selective_scan_reference(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a,
                                    const at::Tensor& b, const at::Tensor& c, const at::Tensor& d, const at::Tensor& h0,
                                    Discretization discretization) {
  check_scan_inputs(x, delta, a, b, c, d, h0);
  at::Tensor h = h0.defined() ? h0 : at::zeros({x.size(0), x.size(2), a.size(1)}, x.options());
  std::vector<at::Tensor> y;
  for (int64_t t = 0; t < x.size(1); ++t) {
    const at::Tensor step = delta.select(1, t);
    const at::Tensor input = b.select(1, t).unsqueeze(1) * x.select(1, t).unsqueeze(-1);
    h = at::exp(step.unsqueeze(-1) * a) * h + held_input(step, a, discretization) * input;
    y.push_back((h * c.select(1, t).unsqueeze(1)).sum(-1));
  }
  at::Tensor out = y.empty() ? at::zeros_like(x) : at::stack(y, 1);
  if (d.defined()) out = out + x * d;
  return {out, h};
}

}  // namespace colonnade::mamba
