#include "scan_op.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <string>
#include <tuple>

#include "cpu_tasks.h"

namespace colonnade::mamba {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;
using Forward = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using Backward = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

at::Tensor or_undefined(const OptionalTensor& tensor) {
  return tensor.has_value() ? *tensor : at::Tensor();
}
OptionalTensor or_nothing(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

void check_like(const at::Tensor& tensor, const char* name, at::IntArrayRef sizes, const at::Tensor& x) {
  TORCH_CHECK(tensor.sizes() == sizes, "selective_scan: ", name, " is ", tensor.sizes(), ", expected ", sizes);
  TORCH_CHECK(tensor.scalar_type() == x.scalar_type() && tensor.device() == x.device(), "selective_scan: ", name,
              " is ", tensor.scalar_type(), " on ", tensor.device(), ", but x is ", x.scalar_type(), " on ",
              x.device());
}

ScanShape scan_shape(const at::Tensor& x, const at::Tensor& a) {
  return {x.size(0), x.size(1), x.size(2), a.size(1)};
}

/// Dense copies where needed, held while their pointers are in use.
struct DenseInputs {
  DenseInputs(const at::Tensor& x_in, const at::Tensor& delta_in, const at::Tensor& a_in, const at::Tensor& b_in,
              const at::Tensor& c_in, const at::Tensor& d_in, const at::Tensor& h0_in)
      : x(x_in.contiguous()),
        delta(delta_in.contiguous()),
        a(a_in.contiguous()),
        b(b_in.contiguous()),
        c(c_in.contiguous()),
        d(d_in.defined() ? d_in.contiguous() : d_in),
        h0(h0_in.defined() ? h0_in.contiguous() : h0_in) {}

  template <typename Real>
  ScanInputs<Real> pointers() const {
    return {x.const_data_ptr<Real>(),
            delta.const_data_ptr<Real>(),
            a.const_data_ptr<Real>(),
            b.const_data_ptr<Real>(),
            c.const_data_ptr<Real>(),
            d.defined() ? d.const_data_ptr<Real>() : nullptr,
            h0.defined() ? h0.const_data_ptr<Real>() : nullptr};
  }

  at::Tensor x, delta, a, b, c, d, h0;
};

Forward forward_cpu(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                    const at::Tensor& c, const OptionalTensor& d, const OptionalTensor& h0,
                    std::string_view discretization, bool save) {
  check_scan_inputs(x, delta, a, b, c, or_undefined(d), or_undefined(h0));
  const ScanShape shape = scan_shape(x, a);
  const DenseInputs in(x, delta, a, b, c, or_undefined(d), or_undefined(h0));
  at::Tensor y = at::empty(x.sizes(), x.options());
  at::Tensor h_last = at::empty({shape.batch, shape.channels, shape.states}, x.options());
  at::Tensor boundaries = at::empty({save ? boundary_elements(shape) : 0}, x.options());
  for_real_type(x, [&](auto zero) {
    using Real = decltype(zero);
    const ScanOutputs<Real> out{y.mutable_data_ptr<Real>(), h_last.mutable_data_ptr<Real>(),
                                save ? boundaries.mutable_data_ptr<Real>() : nullptr};
    selective_scan_forward<Real>(shape, parse_discretization(discretization), in.pointers<Real>(), out, parallel_tasks,
                                 simd_target());
  });
  return {y, h_last, boundaries};
}

Backward backward_cpu(const at::Tensor& dy, const OptionalTensor& dh_last, const at::Tensor& x, const at::Tensor& delta,
                      const at::Tensor& a, const at::Tensor& b, const at::Tensor& c, const OptionalTensor& d,
                      const OptionalTensor& h0, const at::Tensor& boundaries, std::string_view discretization) {
  const ScanShape shape = scan_shape(x, a);
  TORCH_CHECK(boundaries.numel() == boundary_elements(shape),
              "selective_scan_backward: the forward pass saved no states for these sizes");
  const DenseInputs in(x, delta, a, b, c, or_undefined(d), or_undefined(h0));
  const at::Tensor dense_dy = dy.contiguous();
  const at::Tensor dense_dh_last = dh_last.has_value() ? dh_last->contiguous() : at::Tensor();
  const auto like = [](const at::Tensor& tensor) {
    return tensor.defined() ? at::empty(tensor.sizes(), tensor.options()) : at::Tensor();
  };
  Backward gradients{like(in.x), like(in.delta), like(in.a), like(in.b), like(in.c), like(in.d), like(in.h0)};
  for_real_type(x, [&](auto zero) {
    using Real = decltype(zero);
    const auto pointer = [](const at::Tensor& t) { return t.defined() ? t.mutable_data_ptr<Real>() : nullptr; };
    const ScanGradients<Real> out =
        std::apply([&](const auto&... tensors) { return ScanGradients<Real>{pointer(tensors)...}; }, gradients);
    const ScanUpstream<Real> upstream{dense_dy.const_data_ptr<Real>(),
                                      dense_dh_last.defined() ? dense_dh_last.const_data_ptr<Real>() : nullptr,
                                      boundaries.const_data_ptr<Real>()};
    selective_scan_backward<Real>(shape, parse_discretization(discretization), in.pointers<Real>(), upstream, out,
                                  parallel_tasks, simd_target());
  });
  return gradients;
}

template <typename Function>
auto find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

Forward call_forward(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                     const at::Tensor& c, const OptionalTensor& d, const OptionalTensor& h0,
                     std::string_view discretization, bool save) {
  static const auto op = find_op<decltype(forward_cpu)>("mamba::selective_scan_forward");
  return op.call(x, delta, a, b, c, d, h0, discretization, save);
}

class ScanFunction : public torch::autograd::Function<ScanFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& delta,
                               const at::Tensor& a, const at::Tensor& b, const at::Tensor& c, const OptionalTensor& d,
                               const OptionalTensor& h0, const std::string& discretization) {
    const at::AutoDispatchBelowADInplaceOrView below;
    auto [y, h_last, boundaries] = call_forward(x, delta, a, b, c, d, h0, discretization, true);
    context->save_for_backward({x, delta, a, b, c, or_undefined(d), or_undefined(h0), boundaries});
    context->saved_data["discretization"] = discretization;
    context->set_materialize_grads(false);
    return {y, h_last};
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    static const auto op = find_op<decltype(backward_cpu)>("mamba::selective_scan_backward");
    const at::Tensor dy = upstream[0].defined() ? upstream[0] : at::zeros_like(x);
    const std::string discretization = context->saved_data["discretization"].toStringRef();
    const at::AutoDispatchBelowADInplaceOrView below;
    auto [dx, ddelta, da, db, dc, dd, dh0] =
        op.call(dy, or_nothing(upstream[1]), x, saved[1], saved[2], saved[3], saved[4], or_nothing(saved[5]),
                or_nothing(saved[6]), saved[7], discretization);
    return {dx, ddelta, da, db, dc, dd, dh0, at::Tensor()};
  }
};

using Outputs = std::tuple<at::Tensor, at::Tensor>;

Outputs scan_without_autograd(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                              const at::Tensor& c, const OptionalTensor& d, const OptionalTensor& h0,
                              std::string_view discretization) {
  auto [y, h_last, boundaries] = call_forward(x, delta, a, b, c, d, h0, discretization, false);
  return {y, h_last};
}

Outputs scan_with_autograd(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                           const at::Tensor& c, const OptionalTensor& d, const OptionalTensor& h0,
                           std::string_view discretization) {
  const auto wants = [](const at::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); };
  const bool any =
      wants(x) || wants(delta) || wants(a) || wants(b) || wants(c) || wants(or_undefined(d)) || wants(or_undefined(h0));
  if (!any || !at::GradMode::is_enabled()) {
    const at::AutoDispatchBelowADInplaceOrView below;
    return scan_without_autograd(x, delta, a, b, c, d, h0, discretization);
  }
  const variable_list out = ScanFunction::apply(x, delta, a, b, c, d, h0, std::string(discretization));
  return {out[0], out[1]};
}

TORCH_LIBRARY(mamba, library) {
  library.def(
      "selective_scan(Tensor x, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? h0, str discretization)"
      " -> (Tensor y, Tensor h_last)");
  library.def(
      "selective_scan_forward(Tensor x, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? h0,"
      " str discretization, bool save) -> (Tensor y, Tensor h_last, Tensor boundaries)");
  library.def(
      "selective_scan_backward(Tensor dy, Tensor? dh_last, Tensor x, Tensor delta, Tensor A, Tensor B, Tensor C,"
      " Tensor? D, Tensor? h0, Tensor boundaries, str discretization)"
      " -> (Tensor dx, Tensor ddelta, Tensor dA, Tensor dB, Tensor dC, Tensor dD, Tensor dh0)");
}

TORCH_LIBRARY_IMPL(mamba, CPU, library) {
  library.impl("selective_scan_forward", forward_cpu);
  library.impl("selective_scan_backward", backward_cpu);
}

TORCH_LIBRARY_IMPL(mamba, CompositeExplicitAutograd, library) {
  library.impl("selective_scan", scan_without_autograd);
}
TORCH_LIBRARY_IMPL(mamba, Autograd, library) {
  library.impl("selective_scan", scan_with_autograd);
}

}  // namespace

Discretization parse_discretization(std::string_view word) {
  if (word == "mamba") return Discretization::mamba;
  TORCH_CHECK(word == "zoh", "discretization is '", std::string(word), "', allowed are mamba, zoh");
  return Discretization::zoh;
}

std::string_view discretization_name(Discretization discretization) {
  return discretization == Discretization::mamba ? "mamba" : "zoh";
}

void check_scan_inputs(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                       const at::Tensor& c, const at::Tensor& d, const at::Tensor& h0) {
  TORCH_CHECK(x.dim() == 3 && a.dim() == 2, "selective_scan: x is ", x.sizes(), " and A is ", a.sizes(),
              ", expected [B, L, D] and [D, N]");
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble, "selective_scan: x is ", x.scalar_type(),
              ", allowed are float and double");
  const int64_t states = a.size(1);
  TORCH_CHECK(states >= 1 && states <= kMaxScanStates, "selective_scan: A has ", states, " states, allowed are 1 to ",
              kMaxScanStates);
  check_like(delta, "delta", x.sizes(), x);
  check_like(a, "A", {x.size(2), states}, x);
  check_like(b, "B", {x.size(0), x.size(1), states}, x);
  check_like(c, "C", {x.size(0), x.size(1), states}, x);
  if (d.defined()) check_like(d, "D", {x.size(2)}, x);
  if (h0.defined()) check_like(h0, "h0", {x.size(0), x.size(2), states}, x);
}

ScanResult selective_scan(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                          const at::Tensor& c, const at::Tensor& d, const at::Tensor& h0,
                          Discretization discretization) {
  static const auto op = find_op<decltype(scan_without_autograd)>("mamba::selective_scan");
  auto [y, h_last] = op.call(x, delta, a, b, c, or_nothing(d), or_nothing(h0), discretization_name(discretization));
  return {y, h_last};
}

}  // namespace colonnade::mamba
