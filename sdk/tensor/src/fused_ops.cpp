#include "fused_ops.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "colonnade/tensor/batch.h"
#include "colonnade/tensor/device.h"
#include "fused_primitives.h"

namespace colonnade {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

OptionalTensor or_nothing(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

at::Tensor dense(const at::Tensor& gradient) {
  return gradient.defined() ? gradient.contiguous() : gradient;
}

class AddRmsNorm : public torch::autograd::Function<AddRmsNorm> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& residual, const at::Tensor& branch,
                               const at::Tensor& weight, double epsilon, at::ScalarType type) {
    const at::AutoDispatchBelowADInplaceOrView below;
    auto [sum, normal, inverse_rms] = FusedPrimitives::add_rms_norm_forward(residual, branch, weight, epsilon, type);
    context->save_for_backward({sum, weight, inverse_rms});
    context->saved_data["branch_type"] = branch.scalar_type();
    context->set_materialize_grads(false);
    return {sum, normal};
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const variable_list saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor dnormal = upstream[1].defined() ? dense(upstream[1]) : at::zeros_like(saved[0]);
    auto [dresidual, dbranch, dweight] =
        FusedPrimitives::add_rms_norm_backward(dnormal, or_nothing(dense(upstream[0])), saved[0], saved[1], saved[2],
                                               context->saved_data["branch_type"].toScalarType());
    return {dresidual, dbranch, dweight, at::Tensor(), at::Tensor()};
  }
};

class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double epsilon,
                            at::ScalarType type) {
    const at::AutoDispatchBelowADInplaceOrView below;
    auto [sum, normal, inverse_rms] = FusedPrimitives::add_rms_norm_forward(x, std::nullopt, weight, epsilon, type);
    context->save_for_backward({x, weight, inverse_rms});
    return normal;
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const variable_list saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below;
    auto [dx, unused, dweight] = FusedPrimitives::add_rms_norm_backward(dense(upstream[0]), std::nullopt, saved[0],
                                                                        saved[1], saved[2], std::nullopt);
    return {dx, dweight, at::Tensor(), at::Tensor()};
  }
};

class ConvSilu : public torch::autograd::Function<ConvSilu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& taps,
                            const OptionalTensor& bias) {
    const at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({x, taps, bias.value_or(at::Tensor())});
    return FusedPrimitives::causal_conv1d_forward(x, taps, bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const variable_list saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below;
    auto [dx, dtaps, dbias] =
        FusedPrimitives::causal_conv1d_backward(dense(upstream[0]), saved[0], saved[1], or_nothing(saved[2]));
    return {dx, dtaps, saved[2].defined() ? dbias : at::Tensor()};
  }
};

struct ProductLoss {
  at::Tensor loss, dx, dweight;
};

ProductLoss product_loss(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& targets, std::int64_t piece) {
  const at::ScalarType wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor scale = targets.ne(not_scored).sum().clamp_min(1).to(wide).reciprocal().reshape({1});
  // Products of half types are summed in fp32 where the device can.
  const bool narrow = x.is_cuda() && x.scalar_type() != at::kFloat;
  ProductLoss result;
  result.dx = at::empty_like(x);
  std::vector<at::Tensor> losses;
  for (std::int64_t first = 0; first < x.size(0); first += piece) {
    const std::int64_t rows = std::min(piece, x.size(0) - first);
    const at::Tensor inputs = x.narrow(0, first, rows);
    at::Tensor logits = at::mm(inputs, weight.t());
    losses.push_back(FusedPrimitives::cross_entropy_gradient_(logits, targets.narrow(0, first, rows), scale));
    at::Tensor part = result.dx.narrow(0, first, rows);
    at::mm_out(part, logits, weight);
    if (result.dweight.defined()) {
      result.dweight = narrow ? at::addmm(result.dweight, logits.t(), inputs, at::kFloat)
                              : at::addmm(result.dweight, logits.t(), inputs);
    } else {
      result.dweight = narrow ? at::mm(logits.t(), inputs, at::kFloat) : at::mm(logits.t(), inputs);
    }
  }
  result.loss = (at::cat(losses).sum() * scale).squeeze(0);
  return result;
}

class ProductCrossEntropy : public torch::autograd::Function<ProductCrossEntropy> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& targets, std::int64_t piece, at::ScalarType type) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const ProductLoss result = product_loss(x.to(type), weight.to(type), targets, piece);
    context->save_for_backward({result.dx, result.dweight});
    context->saved_data["x_type"] = x.scalar_type();
    context->saved_data["weight_type"] = weight.scalar_type();
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const variable_list saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto scaled = [&](const at::Tensor& gradient, const char* name) {
      return (gradient * upstream[0]).to(context->saved_data[name].toScalarType());
    };
    return {scaled(saved[0], "x_type"), scaled(saved[1], "weight_type"), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool has_fused_ops(const at::Tensor& x) {
  return x.is_cuda() && x.scalar_type() != at::kDouble && x.numel() > 0;
}

bool has_fused_norm(const at::Tensor& x, std::int64_t width) {
  const auto type = x.scalar_type();
  if (x.is_cpu()) return x.numel() > 0 && (type == at::kFloat || type == at::kDouble) && product_type(x) == type;
  constexpr std::int64_t vector = 4;
  return has_fused_ops(x) && type == at::kFloat && width % vector == 0 && width <= widest_fused_norm;
}

std::tuple<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& residual, const at::Tensor& branch,
                                                const at::Tensor& weight, double epsilon, at::ScalarType type) {
  const auto wants = [](const at::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); };
  const bool recorded = at::GradMode::is_enabled() && (wants(residual) || wants(branch) || wants(weight));
  if (residual.is_cpu() && !recorded) {  // a token's share of the work: none of it for the tape
    const auto [sum, normal, unused] =
        FusedPrimitives::add_rms_norm_forward(residual, or_nothing(branch), weight, epsilon, type);
    return {branch.defined() ? sum : residual, normal};
  }
  if (!branch.defined()) return {residual, RmsNorm::apply(residual, weight, epsilon, type)};
  const variable_list out = AddRmsNorm::apply(residual, branch, weight, epsilon, type);
  return {out[0], out[1]};
}

at::Tensor causal_conv1d_silu(const at::Tensor& x, const at::Tensor& taps, const at::Tensor& bias) {
  return ConvSilu::apply(x, taps, or_nothing(bias));
}

at::Tensor product_cross_entropy(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& targets,
                                 std::int64_t piece, at::ScalarType type) {
  return ProductCrossEntropy::apply(x, weight, targets, piece, type);
}

}  // namespace colonnade
