// The gated scan on the CPU: the scan's kernels, with what stands around them computed again for gradients in place of
// being kept. Of tensors [B, L, D] it keeps its inputs alone.
#include <ATen/Functions.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

namespace colonnade::mamba {
namespace {

using T = at::Tensor;
using OptionalTensor = std::optional<T>;
using ScanForward = std::tuple<T, T, T>(const T&, const T&, const T&, const T&, const T&, const OptionalTensor&,
                                        const OptionalTensor&, std::string_view, bool);
using ScanBackward = std::tuple<T, T, T, T, T, T, T>(const T&, const OptionalTensor&, const T&, const T&, const T&,
                                                     const T&, const T&, const OptionalTensor&, const OptionalTensor&,
                                                     const T&, std::string_view);

template <typename Function>
auto find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

T with_bias(const T& delta, const OptionalTensor& bias) {
  return bias ? delta + *bias : delta;
}

std::tuple<T, T, T> scan(const T& x, const T& steps, const T& a, const T& b, const T& c, const T& d,
                         std::string_view discretization, bool save) {
  static const auto op = find_op<ScanForward>("mamba::selective_scan_forward");
  return op.call(x, steps, a, b, c, d, std::nullopt, discretization, save);
}

std::tuple<T, T> forward(const T& x, const T& delta, const OptionalTensor& bias, const T& a, const T& b, const T& c,
                         const T& d, const T& z, std::string_view discretization, bool save) {
  auto [y, h_last, boundaries] = scan(x, at::softplus(with_bias(delta, bias)), a, b, c, d, discretization, save);
  return {y.mul_(at::silu(z)), boundaries};
}

std::tuple<T, T, T, T, T, T, T, T> backward(const T& dy, const T& x, const T& delta, const OptionalTensor& bias,
                                            const T& a, const T& b, const T& c, const T& d, const T& z,
                                            const T& boundaries, std::string_view discretization) {
  constexpr double kBeta = 1, kLinearAbove = 20;  // of softplus
  static const auto op = find_op<ScanBackward>("mamba::selective_scan_backward");
  const T before = with_bias(delta, bias), steps = at::softplus(before);
  T dz = std::get<0>(scan(x, steps, a, b, c, d, discretization, false)).mul_(dy);
  dz = at::silu_backward(dz, z);
  auto [dx, dsteps, da, db, dc, dd, dh0] =
      op.call(at::silu(z).mul_(dy), std::nullopt, x, steps, a, b, c, d, std::nullopt, boundaries, discretization);
  const T ddelta = at::softplus_backward(dsteps, before, kBeta, kLinearAbove);
  return {dx, ddelta, bias ? ddelta.sum(at::IntArrayRef{0, 1}) : at::empty({0}, x.options()), da, db, dc, dd, dz};
}

TORCH_LIBRARY_IMPL(mamba, CPU, library) {
  library.impl("gated_scan_forward", forward);
  library.impl("gated_scan_backward", backward);
}

}  // namespace
}  // namespace colonnade::mamba
