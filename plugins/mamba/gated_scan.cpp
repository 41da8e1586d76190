#include "gated_scan.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <tuple>

#include "scan_op.h"

namespace colonnade::mamba {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;
using T = at::Tensor;
using ForwardOp = std::tuple<T, T>(const T&, const T&, const OptionalTensor&, const T&, const T&, const T&, const T&,
                                   const T&, std::string_view, bool);
using BackwardOp = std::tuple<T, T, T, T, T, T, T, T>(const T&, const T&, const T&, const OptionalTensor&, const T&,
                                                      const T&, const T&, const T&, const T&, const T&,
                                                      std::string_view);

constexpr const char* kForward = "mamba::gated_scan_forward";
constexpr const char* kBackward = "mamba::gated_scan_backward";

template <typename Function>
auto find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

OptionalTensor or_nothing(const T& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

std::tuple<T, T> forward(const GatedScan& in, const std::string& discretization, bool save) {
  static const auto op = find_op<ForwardOp>(kForward);
  return op.call(in.x, in.delta, or_nothing(in.bias), in.a, in.b, in.c, in.d, in.z, discretization, save);
}

class GatedFunction : public torch::autograd::Function<GatedFunction> {
 public:
  static T forward(AutogradContext* context, const T& x, const T& delta, const OptionalTensor& bias, const T& a,
                   const T& b, const T& c, const T& d, const T& z, const std::string& discretization) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const GatedScan in{x, delta, bias.value_or(T()), a, b, c, d, z};
    auto [y, boundaries] = mamba::forward(in, discretization, true);
    context->save_for_backward({x, delta, in.bias, a, b, c, d, z, boundaries});
    context->saved_data["discretization"] = discretization;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    static const auto op = find_op<BackwardOp>(kBackward);
    const variable_list saved = context->get_saved_variables();
    const std::string discretization = context->saved_data["discretization"].toStringRef();
    const at::AutoDispatchBelowADInplaceOrView below;
    auto [dx, ddelta, dbias, da, db, dc, dd, dz] =
        op.call(upstream[0], saved[0], saved[1], or_nothing(saved[2]), saved[3], saved[4], saved[5], saved[6], saved[7],
                saved[8], discretization);
    return {dx, ddelta, saved[2].defined() ? dbias : T(), da, db, dc, dd, dz, T()};
  }
};

TORCH_LIBRARY_FRAGMENT(mamba, library) {
  library.def(
      "gated_scan_forward(Tensor x, Tensor delta, Tensor? bias, Tensor A, Tensor B, Tensor C, Tensor D, Tensor z,"
      " str discretization, bool save) -> (Tensor y, Tensor boundaries)");
  library.def(
      "gated_scan_backward(Tensor dy, Tensor x, Tensor delta, Tensor? bias, Tensor A, Tensor B, Tensor C, Tensor D,"
      " Tensor z, Tensor boundaries, str discretization)"
      " -> (Tensor dx, Tensor ddelta, Tensor dbias, Tensor dA, Tensor dB, Tensor dC, Tensor dD, Tensor dz)");
}

}  // namespace

bool has_gated_scan(const at::Tensor& x) {
  const auto type = x.scalar_type();
  const bool computed = x.is_cuda() ? type != at::kDouble : x.is_cpu() && (type == at::kFloat || type == at::kDouble);
  return computed && x.numel() > 0;
}

at::Tensor gated_scan(const GatedScan& in, Discretization discretization) {
  const std::string name(discretization_name(discretization));
  const auto wants = [](const T& tensor) { return tensor.defined() && tensor.requires_grad(); };
  const bool any = wants(in.x) || wants(in.delta) || wants(in.bias) || wants(in.a) || wants(in.b) || wants(in.c) ||
                   wants(in.d) || wants(in.z);
  if (any && at::GradMode::is_enabled()) {
    return GatedFunction::apply(in.x, in.delta, or_nothing(in.bias), in.a, in.b, in.c, in.d, in.z, name);
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  return std::get<0>(forward(in, name, false));
}

}  // namespace colonnade::mamba
