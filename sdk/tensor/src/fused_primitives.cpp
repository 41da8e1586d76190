#include "fused_primitives.h"

#include <ATen/Functions.h>
#include <torch/library.h>

#include "colonnade/tensor/batch.h"
#include "norm_kernels.h"

namespace colonnade {

namespace {

using Three = FusedPrimitives::Three;

at::Tensor none_like(const at::Tensor& tensor) {
  return at::empty({0}, tensor.options());
}

// What defines each primitive, in tensor ops. Half types are computed with in fp32.

at::ScalarType wide_type(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

Three norm_forward(const at::Tensor& residual, const OptionalTensor& branch, const at::Tensor& weight, double epsilon,
                   at::ScalarType type) {
  const at::Tensor sum = branch ? residual + *branch : residual;
  const at::Tensor wide = sum.to(wide_type(sum));
  const at::Tensor inverse_rms = at::rsqrt(wide.square().mean(-1, true) + epsilon);
  const at::Tensor normal = (wide * inverse_rms * weight).to(type);
  return {branch ? sum : none_like(sum), normal, inverse_rms.reshape({-1})};
}

Three norm_backward(const at::Tensor& dnormal, const OptionalTensor& dsum, const at::Tensor& sum,
                    const at::Tensor& weight, const at::Tensor& inverse_rms,
                    std::optional<at::ScalarType> branch_type) {
  const std::int64_t width = sum.size(-1);
  const at::Tensor x = sum.to(wide_type(sum)).reshape({-1, width});
  const at::Tensor dy = dnormal.to(x.scalar_type()).reshape({-1, width});
  const at::Tensor scale = inverse_rms.unsqueeze(1);
  const at::Tensor dweight = (dy * x * scale).sum(0);
  const at::Tensor weighted = dy * weight;
  at::Tensor dx = scale * (weighted - x * scale.square() * (weighted * x).mean(1, true));
  dx = dx.reshape(sum.sizes());
  if (dsum) dx = dx + *dsum;
  dx = dx.to(sum.scalar_type());
  return {dx, branch_type ? dx.to(*branch_type) : none_like(dx), dweight};
}

// On the CPU one pass over each row, where all is of one type that it computes in and nothing is broadcast.
bool alike(const at::Tensor& x, const OptionalTensor& other, const at::Tensor& weight, at::ScalarType type) {
  const bool real = type == at::kFloat || type == at::kDouble;
  const bool rows = x.dim() > 0 && weight.numel() > 0 && x.size(-1) == weight.numel();
  return real && rows && x.scalar_type() == type && weight.scalar_type() == type &&
         (!other || (other->scalar_type() == type && other->sizes() == x.sizes()));
}

template <typename Function>
void for_real_type(at::ScalarType type, const Function& function) {
  if (type == at::kDouble) {
    function(double{});
  } else {
    function(float{});
  }
}

template <typename Real>
const Real* data(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<Real>() : nullptr;
}

at::Tensor dense(const OptionalTensor& tensor) {
  return tensor ? tensor->contiguous() : at::Tensor();
}

Three norm_forward_cpu(const at::Tensor& residual, const OptionalTensor& branch, const at::Tensor& weight,
                       double epsilon, at::ScalarType type) {
  if (!alike(residual, branch, weight, type)) return norm_forward(residual, branch, weight, epsilon, type);
  const at::Tensor x = residual.contiguous(), addend = dense(branch), factors = weight.contiguous();
  const std::int64_t width = weight.numel();
  const NormShape shape{x.numel() / width, width};
  const at::Tensor sum = branch ? at::empty(x.sizes(), x.options()) : none_like(x);
  const at::Tensor normal = at::empty(x.sizes(), x.options()), inverse_rms = at::empty({shape.rows}, x.options());
  for_real_type(type, [&](auto zero) {
    using Real = decltype(zero);
    norm_rows<Real>(shape,
                    {data<Real>(x), data<Real>(addend), data<Real>(factors), epsilon, sum.mutable_data_ptr<Real>(),
                     normal.mutable_data_ptr<Real>(), inverse_rms.mutable_data_ptr<Real>()});
  });
  return {sum, normal, inverse_rms};
}

Three norm_backward_cpu(const at::Tensor& dnormal, const OptionalTensor& dsum, const at::Tensor& sum,
                        const at::Tensor& weight, const at::Tensor& inverse_rms,
                        std::optional<at::ScalarType> branch_type) {
  const at::ScalarType type = sum.scalar_type();
  if (!alike(dnormal, dsum, weight, type)) {
    return norm_backward(dnormal, dsum, sum, weight, inverse_rms, branch_type);
  }
  const at::Tensor dy = dnormal.contiguous(), later = dense(dsum), x = sum.contiguous(), factors = weight.contiguous();
  const at::Tensor dx = at::empty(x.sizes(), x.options()), dweight = at::empty(weight.sizes(), weight.options());
  const NormShape shape{inverse_rms.numel(), weight.numel()};
  for_real_type(type, [&](auto zero) {
    using Real = decltype(zero);
    norm_rows_backward<Real>(
        shape, {data<Real>(dy), data<Real>(later), data<Real>(x), data<Real>(factors), data<Real>(inverse_rms),
                dx.mutable_data_ptr<Real>(), dweight.mutable_data_ptr<Real>()});
  });
  return {dx, branch_type ? dx.to(*branch_type) : none_like(dx), dweight};
}

at::Tensor convolve(const at::Tensor& x, const at::Tensor& taps, const OptionalTensor& bias) {
  const std::int64_t width = taps.size(1);
  const at::Tensor padded = at::constant_pad_nd(x.to(wide_type(x)), {0, 0, width - 1, 0});
  at::Tensor y = bias ? bias->expand(x.sizes()) : at::zeros({}, padded.options());
  for (std::int64_t tap = 0; tap < width; ++tap) y = y + padded.narrow(1, tap, x.size(1)) * taps.select(1, tap);
  return y;
}

at::Tensor conv_forward(const at::Tensor& x, const at::Tensor& taps, const OptionalTensor& bias) {
  return at::silu(convolve(x, taps, bias)).to(x.scalar_type());
}

Three conv_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& taps, const OptionalTensor& bias) {
  const at::Tensor before = convolve(x, taps, bias);
  const at::Tensor gate = at::sigmoid(before);
  const at::Tensor d = dy.to(before.scalar_type()) * gate * (1 + before * (1 - gate));
  const std::int64_t width = taps.size(1), length = x.size(1);
  const at::Tensor padded = at::constant_pad_nd(x.to(before.scalar_type()), {0, 0, width - 1, 0});
  const at::Tensor later = at::constant_pad_nd(d, {0, 0, 0, width - 1});
  at::Tensor dx = at::zeros_like(d);
  std::vector<at::Tensor> dtaps;
  for (std::int64_t tap = 0; tap < width; ++tap) {
    dx = dx + later.narrow(1, width - 1 - tap, length) * taps.select(1, tap);
    dtaps.push_back((d * padded.narrow(1, tap, length)).sum(at::IntArrayRef{0, 1}));
  }
  return {dx.to(x.scalar_type()), at::stack(dtaps, 1), bias ? d.sum(at::IntArrayRef{0, 1}) : none_like(taps)};
}

at::Tensor cross_entropy_gradient(at::Tensor& logits, const at::Tensor& targets, const at::Tensor& scale) {
  const at::Tensor wide = logits.to(wide_type(logits));
  const at::Tensor scored = targets.ne(not_scored);
  const at::Tensor index = at::where(scored, targets, at::zeros_like(targets)).unsqueeze(1);
  const at::Tensor log_p = at::log_softmax(wide, 1);
  const at::Tensor losses = at::where(scored, -log_p.gather(1, index).squeeze(1), at::zeros({}, wide.options()));
  const at::Tensor hot = at::zeros_like(log_p).scatter_(1, index, 1.0);
  logits.copy_((log_p.exp() - hot) * scale * scored.unsqueeze(1));
  return losses;
}

TORCH_LIBRARY_IMPL(colonnade, CPU, library) {
  library.impl("add_rms_norm_forward", norm_forward_cpu);
  library.impl("add_rms_norm_backward", norm_backward_cpu);
}

template <typename Function>
auto find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

TORCH_LIBRARY(colonnade, library) {
  library.def(
      "add_rms_norm_forward(Tensor residual, Tensor? branch, Tensor weight, float epsilon, ScalarType type)"
      " -> (Tensor sum, Tensor normal, Tensor inverse_rms)");
  library.def(
      "add_rms_norm_backward(Tensor dnormal, Tensor? dsum, Tensor sum, Tensor weight, Tensor inverse_rms,"
      " ScalarType? branch_type) -> (Tensor dresidual, Tensor dbranch, Tensor dweight)");
  library.def("causal_conv1d_forward(Tensor x, Tensor taps, Tensor? bias) -> Tensor");
  library.def(
      "causal_conv1d_backward(Tensor dy, Tensor x, Tensor taps, Tensor? bias)"
      " -> (Tensor dx, Tensor dtaps, Tensor dbias)");
  library.def("cross_entropy_gradient_(Tensor(a!) logits, Tensor targets, Tensor scale) -> Tensor losses");
}

TORCH_LIBRARY_IMPL(colonnade, CompositeExplicitAutograd, library) {
  library.impl("add_rms_norm_forward", norm_forward);
  library.impl("add_rms_norm_backward", norm_backward);
  library.impl("causal_conv1d_forward", conv_forward);
  library.impl("causal_conv1d_backward", conv_backward);
  library.impl("cross_entropy_gradient_", cross_entropy_gradient);
}

}  // namespace

Three FusedPrimitives::add_rms_norm_forward(const at::Tensor& residual, const OptionalTensor& branch,
                                            const at::Tensor& weight, double epsilon, at::ScalarType type) {
  static const auto op = find_op<decltype(norm_forward)>("colonnade::add_rms_norm_forward");
  return op.call(residual, branch, weight, epsilon, type);
}

Three FusedPrimitives::add_rms_norm_backward(const at::Tensor& dnormal, const OptionalTensor& dsum,
                                             const at::Tensor& sum, const at::Tensor& weight,
                                             const at::Tensor& inverse_rms, std::optional<at::ScalarType> branch_type) {
  static const auto op = find_op<decltype(norm_backward)>("colonnade::add_rms_norm_backward");
  return op.call(dnormal, dsum, sum, weight, inverse_rms, branch_type);
}

at::Tensor FusedPrimitives::causal_conv1d_forward(const at::Tensor& x, const at::Tensor& taps,
                                                  const OptionalTensor& bias) {
  static const auto op = find_op<decltype(conv_forward)>("colonnade::causal_conv1d_forward");
  return op.call(x, taps, bias);
}

Three FusedPrimitives::causal_conv1d_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& taps,
                                              const OptionalTensor& bias) {
  static const auto op = find_op<decltype(conv_backward)>("colonnade::causal_conv1d_backward");
  return op.call(dy, x, taps, bias);
}

at::Tensor FusedPrimitives::cross_entropy_gradient_(at::Tensor& logits, const at::Tensor& targets,
                                                    const at::Tensor& scale) {
  static const auto op = find_op<decltype(cross_entropy_gradient)>("colonnade::cross_entropy_gradient_");
  return op.call(logits, targets, scale);
}

}  // namespace colonnade
