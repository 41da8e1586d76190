// The kernels as the tensor SDK's primitives, in LibTorch's dispatcher. Nothing of libtorch_cuda is linked.
#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "kernels.h"

namespace colonnade::cuda {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

Element element_of(at::ScalarType type, const char* what) {
  switch (type) {
    case at::kFloat:
      return Element::float32;
    case at::kHalf:
      return Element::float16;
    case at::kBFloat16:
      return Element::bfloat16;
    default:
      TORCH_CHECK(false, what, " is ", type, " on a CUDA device, allowed there are float, half and bfloat16");
  }
}

Array array(const at::Tensor& tensor, const char* what) {
  TORCH_CHECK(tensor.is_contiguous(), what, " is not dense");
  return {const_cast<void*>(tensor.const_data_ptr()), element_of(tensor.scalar_type(), what)};
}

const float* floats(const at::Tensor& tensor, const char* what) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.is_contiguous(), what, " is no dense row of floats");
  return tensor.const_data_ptr<float>();
}

/// LibTorch's current stream, asked through the device's interface.
cudaStream_t current_stream(const at::Tensor& tensor) {
  const c10::impl::VirtualGuardImpl device(c10::DeviceType::CUDA);
  return static_cast<cudaStream_t>(device.getStreamNativeHandle(device.getStream(tensor.device())));
}

int multiprocessors(const at::Tensor& tensor) {
  int count = 0;
  const cudaError_t error = cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, tensor.device().index());
  TORCH_CHECK(error == cudaSuccess, "multiprocessors: ", cudaGetErrorString(error));
  return count;
}

void check_launch(cudaError_t error, const char* what) {
  TORCH_CHECK(error == cudaSuccess, what, ": the CUDA kernels failed: ", cudaGetErrorString(error));
}

at::Tensor none_like(const at::Tensor& tensor) {
  return at::empty({0}, tensor.options());
}

void check_norm(const at::Tensor& rows, const at::Tensor& weight) {
  constexpr int64_t kMultiple = 4;
  const int64_t width = rows.size(-1);
  TORCH_CHECK(width % kMultiple == 0 && width <= kWidestNorm && weight.numel() == width, "add_rms_norm: rows of ",
              width, " numbers with a weight of ", weight.numel(), "; a multiple of 4 up to ", kWidestNorm,
              " is allowed");
}

Three norm_forward(const at::Tensor& residual, const OptionalTensor& branch, const at::Tensor& weight, double epsilon,
                   at::ScalarType type) {
  check_norm(residual, weight);
  const c10::DeviceGuard guard(residual.device());
  NormForward norm;
  norm.width = residual.size(-1);
  norm.rows = residual.numel() / norm.width;
  norm.epsilon = static_cast<float>(epsilon);
  norm.residual = floats(residual, "the residual");
  at::Tensor sum = none_like(residual);
  at::Tensor addend;  // held while its pointer is in use
  if (branch) {
    addend = branch->contiguous();
    norm.branch = array(addend, "the branch");
    sum = at::empty_like(residual);
    norm.sum = sum.mutable_data_ptr<float>();
  }
  norm.weight = floats(weight, "the norm's weight");
  at::Tensor normal = at::empty(residual.sizes(), residual.options().dtype(type));
  at::Tensor inverse_rms = at::empty({norm.rows}, residual.options());
  norm.normal = array(normal, "the normalised sum");
  norm.inverse_rms = inverse_rms.mutable_data_ptr<float>();
  check_launch(add_rms_norm_forward(norm, current_stream(residual)), "add_rms_norm");
  return {sum, normal, inverse_rms};
}

Three norm_backward(const at::Tensor& dnormal, const OptionalTensor& dsum, const at::Tensor& sum,
                    const at::Tensor& weight, const at::Tensor& inverse_rms,
                    std::optional<at::ScalarType> branch_type) {
  check_norm(sum, weight);
  const c10::DeviceGuard guard(sum.device());
  const int processors = multiprocessors(sum);
  NormBackward norm;
  norm.width = sum.size(-1);
  norm.rows = sum.numel() / norm.width;
  norm.dnormal = array(dnormal, "the gradient of the normalised sum");
  if (dsum) norm.dsum = floats(*dsum, "the gradient of the sum");
  norm.sum = floats(sum, "the sum");
  norm.weight = floats(weight, "the norm's weight");
  norm.inverse_rms = floats(inverse_rms, "1 / rms");
  at::Tensor dresidual = at::empty_like(sum);
  // A branch of floats has the residual's own gradient.
  const bool own_branch = branch_type && *branch_type != at::kFloat;
  at::Tensor dbranch = own_branch ? at::empty(sum.sizes(), sum.options().dtype(*branch_type)) : none_like(sum);
  at::Tensor dweight = at::empty({norm.width}, sum.options());
  at::Tensor parts = at::empty({norm_parts(processors), norm.width}, sum.options());
  norm.dresidual = dresidual.mutable_data_ptr<float>();
  if (own_branch) norm.dbranch = array(dbranch, "the gradient of the branch");
  norm.dweight = dweight.mutable_data_ptr<float>();
  norm.parts = parts.mutable_data_ptr<float>();
  check_launch(add_rms_norm_backward(norm, processors, current_stream(sum)), "add_rms_norm's gradients");
  if (branch_type && !own_branch) dbranch = dresidual.clone();
  return {dresidual, dbranch, dweight};
}

/// The inputs of a convolution, checked and held while their pointers are in use.
struct Inputs {
  Inputs(const at::Tensor& x_in, const at::Tensor& taps_in, const OptionalTensor& bias_in)
      : x(x_in.stride(-1) == 1 ? x_in : x_in.contiguous()), taps(taps_in.contiguous()) {
    TORCH_CHECK(x.dim() == 3 && taps.dim() == 2 && taps.size(0) == x.size(2) && taps.size(1) > 1 &&
                    taps.size(1) <= kWidestConvolution,
                "causal_conv1d: x is ", x.sizes(), " and taps are ", taps.sizes(),
                ", expected [B, L, D] and [D, 2 to 8]");
    of.batch = x.size(0);
    of.length = x.size(1);
    of.channels = x.size(2);
    of.width = static_cast<int>(taps.size(1));
    of.element = element_of(x.scalar_type(), "causal_conv1d: x");
    of.x = x.const_data_ptr();
    of.x_batch_stride = x.stride(0);
    of.x_time_stride = x.stride(1);
    of.taps = floats(taps, "the taps");
    if (!bias_in) return;
    TORCH_CHECK(bias_in->numel() == of.channels, "causal_conv1d: a bias of ", bias_in->numel(), " for ", of.channels,
                " channels");
    bias = bias_in->contiguous();
    of.bias = floats(bias, "the bias");
  }

  at::Tensor x, taps, bias;
  Convolution of;
};

at::Tensor conv_forward(const at::Tensor& x, const at::Tensor& taps, const OptionalTensor& bias) {
  const Inputs in(x, taps, bias);
  const c10::DeviceGuard guard(x.device());
  at::Tensor y = at::empty(x.sizes(), x.options());
  check_launch(convolution_forward(in.of, y.mutable_data_ptr(), current_stream(x)), "causal_conv1d");
  return y;
}

Three conv_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& taps, const OptionalTensor& bias) {
  const Inputs in(x, taps, bias);
  TORCH_CHECK(dy.sizes() == x.sizes() && dy.scalar_type() == x.scalar_type(), "causal_conv1d: the gradient of y is ",
              dy.scalar_type(), " ", dy.sizes(), ", y is ", x.scalar_type(), " ", x.sizes());
  const c10::DeviceGuard guard(x.device());
  const at::Tensor upstream = dy.contiguous();
  at::Tensor dx = at::empty(x.sizes(), x.options());
  at::Tensor sums = at::empty({in.of.width + 1, in.of.channels}, taps.options());
  at::Tensor parts = at::empty({convolution_parts(in.of), in.of.width + 1, in.of.channels}, taps.options());
  const ConvolutionGradients out{dx.mutable_data_ptr(), sums.mutable_data_ptr<float>(),
                                 parts.mutable_data_ptr<float>()};
  check_launch(convolution_backward(in.of, upstream.const_data_ptr(), out, current_stream(x)),
               "causal_conv1d's gradients");
  return {dx, sums.narrow(0, 0, in.of.width).t(), bias ? sums.select(0, in.of.width) : none_like(taps)};
}

at::Tensor cross_entropy(at::Tensor& logits, const at::Tensor& targets, const at::Tensor& scale) {
  TORCH_CHECK(logits.dim() == 2 && targets.dim() == 1 && targets.size(0) == logits.size(0) &&
                  targets.scalar_type() == at::kLong && targets.is_contiguous(),
              "cross_entropy_gradient_: logits are ", logits.sizes(), " and targets ", targets.sizes());
  const c10::DeviceGuard guard(logits.device());
  at::Tensor losses = at::empty({logits.size(0)}, logits.options().dtype(at::kFloat));
  if (logits.size(0) == 0) return losses;
  CrossEntropy of;
  of.rows = logits.size(0);
  of.width = logits.size(1);
  of.logits = array(logits, "the logits");
  of.targets = targets.const_data_ptr<int64_t>();
  of.scale = floats(scale, "the scale");
  of.losses = losses.mutable_data_ptr<float>();
  check_launch(cross_entropy_gradient(of, current_stream(logits)), "cross_entropy_gradient_");
  return losses;
}

TORCH_LIBRARY_IMPL(colonnade, CUDA, library) {
  library.impl("add_rms_norm_forward", norm_forward);
  library.impl("add_rms_norm_backward", norm_backward);
  library.impl("causal_conv1d_forward", conv_forward);
  library.impl("causal_conv1d_backward", conv_backward);
  library.impl("cross_entropy_gradient_", cross_entropy);
}

}  // namespace
}  // namespace colonnade::cuda
