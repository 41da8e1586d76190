#include "conv_op.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "causal_conv.h"
#include "cpu_tasks.h"

namespace colonnade::mamba {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Steps may lie apart, a step's channels not.
at::Tensor with_dense_channels(const at::Tensor& x) {
  return x.stride(2) == 1 ? x : x.contiguous();
}

/// Tensors as the kernels read them, held while their pointers are in use.
struct Dense {
  Dense(const at::Tensor& x_in, const at::Tensor& taps_in, const at::Tensor& bias_in, const at::Tensor& before_in)
      : x(with_dense_channels(x_in)),
        taps(taps_in.t().contiguous()),
        bias(bias_in.defined() ? bias_in.contiguous() : bias_in),
        before(before_in.defined() ? before_in.contiguous() : before_in) {}

  ConvShape shape() const { return {x.size(0), x.size(1), x.size(2), taps.size(0)}; }
  template <typename Real>
  ConvInputs<Real> pointers() const {
    return {x.const_data_ptr<Real>(),
            x.stride(1),
            x.stride(0),
            before.defined() && before.numel() > 0 ? before.const_data_ptr<Real>() : nullptr,
            taps.const_data_ptr<Real>(),
            bias.defined() ? bias.const_data_ptr<Real>() : nullptr};
  }

  at::Tensor x, taps, bias, before;
};

at::Tensor forward(const Dense& in) {
  at::Tensor y = at::empty(in.x.sizes(), in.x.options().requires_grad(false));
  for_real_type(in.x, [&](auto zero) {
    using Real = decltype(zero);
    conv_silu_forward<Real>(in.shape(), in.pointers<Real>(), y.mutable_data_ptr<Real>(), parallel_tasks, simd_target());
  });
  return y;
}

class ConvFunction : public torch::autograd::Function<ConvFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& taps,
                            const std::optional<at::Tensor>& bias) {
    const at::Tensor given = bias.value_or(at::Tensor());
    context->save_for_backward({x, taps, given});
    return mamba::forward(Dense(x, taps, given, {}));
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const variable_list saved = context->get_saved_variables();
    const Dense in(saved[0], saved[1], saved[2], {});
    const at::Tensor dy = upstream[0].contiguous();
    at::Tensor dx = at::empty(in.x.sizes(), in.x.options()), dtaps = at::empty(in.taps.sizes(), in.taps.options());
    at::Tensor dbias = in.bias.defined() ? at::empty(in.bias.sizes(), in.bias.options()) : at::Tensor();
    for_real_type(in.x, [&](auto zero) {
      using Real = decltype(zero);
      conv_silu_backward<Real>(in.shape(), in.pointers<Real>(), dy.const_data_ptr<Real>(),
                               {dx.mutable_data_ptr<Real>(), dtaps.mutable_data_ptr<Real>(),
                                dbias.defined() ? dbias.mutable_data_ptr<Real>() : nullptr},
                               parallel_tasks, simd_target());
    });
    return {dx, dtaps.t().contiguous(), dbias};
  }
};

bool wants_gradient(const at::Tensor& tensor) {
  return tensor.defined() && tensor.requires_grad();
}

bool any_gradient(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias) {
  return at::GradMode::is_enabled() && (wants_gradient(x) || wants_gradient(taps) || wants_gradient(bias));
}

}  // namespace

bool has_conv_kernel(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias, const at::Tensor& before) {
  const bool real = x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble;
  if (!real || !x.is_cpu() || taps.size(1) > kMaxConvWidth) return false;
  return !before.defined() || !any_gradient(x, taps, bias);
}

at::Tensor conv_silu(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias, const at::Tensor& before) {
  if (any_gradient(x, taps, bias)) {
    return ConvFunction::apply(x, taps, bias.defined() ? std::optional(bias) : std::nullopt);
  }
  return forward(Dense(x, taps, bias, before));
}

}  // namespace colonnade::mamba
