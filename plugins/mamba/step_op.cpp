#include "step_op.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include "causal_conv.h"
#include "cpu_tasks.h"
#include "token_step.h"

namespace colonnade::mamba {
namespace {

/// Rows may lie apart, a row's numbers not.
at::Tensor with_dense_rows(const at::Tensor& rows) {
  return rows.stride(-1) == 1 ? rows : rows.contiguous();
}

/// The tensor itself where nobody else holds its memory, else a copy: what is kept of a state stays as it was. Memory
/// that cannot be resized is not LibTorch's, but mapped from a store, say.
void make_own(at::Tensor& state) {
  const at::Storage& storage = state.storage();
  const bool alone = state.use_count() == 1 && storage.use_count() == 1 && storage.resizable() && state.is_contiguous();
  if (!alone) state = state.clone(at::MemoryFormat::Contiguous);
}

}  // namespace

bool has_token_step(const at::Tensor& x, int64_t conv_width) {
  const bool real = x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble;
  return real && x.is_cpu() && x.size(1) == 1 && conv_width <= kMaxConvWidth && !at::GradMode::is_enabled();
}

at::Tensor conv_silu_step(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias, at::Tensor& past) {
  const at::Tensor rows = with_dense_rows(x), dense_taps = taps.contiguous();
  const at::Tensor addend = bias.defined() ? bias.contiguous() : bias;
  make_own(past);
  at::Tensor y = at::empty(x.sizes(), x.options());
  for_real_type(x, [&](auto zero) {
    using Real = decltype(zero);
    ConvStep<Real> step;
    step.batch = x.size(0);
    step.channels = x.size(2);
    step.width = taps.size(1);
    step.x = rows.const_data_ptr<Real>();
    step.x_row = rows.stride(0);
    step.past = past.mutable_data_ptr<Real>();
    step.taps = dense_taps.const_data_ptr<Real>();
    step.bias = addend.defined() ? addend.const_data_ptr<Real>() : nullptr;
    step.y = y.mutable_data_ptr<Real>();
    conv_step(step, parallel_tasks, simd_target());
  });
  return y;
}

at::Tensor gated_scan_step(const TokenScan& in, Discretization discretization, at::Tensor& h) {
  const at::Tensor x = in.x.contiguous(), delta = in.delta.contiguous(), a_log = in.a_log.contiguous();
  const at::Tensor b = in.b.contiguous(), c = in.c.contiguous(), d = in.d.contiguous(), z = with_dense_rows(in.z);
  make_own(h);
  at::Tensor y = at::empty(x.sizes(), x.options());
  for_real_type(x, [&](auto zero) {
    using Real = decltype(zero);
    ScanStep<Real> step;
    step.batch = x.size(0);
    step.channels = x.size(2);
    step.states = a_log.size(1);
    step.x = x.const_data_ptr<Real>();
    step.delta = delta.const_data_ptr<Real>();
    step.a_log = a_log.const_data_ptr<Real>();
    step.b = b.const_data_ptr<Real>();
    step.c = c.const_data_ptr<Real>();
    step.d = d.const_data_ptr<Real>();
    step.z = z.const_data_ptr<Real>();
    step.z_row = z.stride(0);
    step.h = h.mutable_data_ptr<Real>();
    step.y = y.mutable_data_ptr<Real>();
    scan_step(step, discretization, parallel_tasks, simd_target());
  });
  return y;
}

}  // namespace colonnade::mamba
