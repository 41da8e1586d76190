// The convolution with its SiLU against the sum that defines it, in tensor ops.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>
#include <vector>

#include "plugins/mamba/causal_conv.h"
#include "plugins/mamba/conv_op.h"

namespace colonnade::mamba {
namespace {

using at::Tensor;

Tensor reference(const Tensor& x, const Tensor& taps, const Tensor& bias, const Tensor& before) {
  const int64_t past = taps.size(1) - 1, length = x.size(1);
  const Tensor none = at::zeros({x.size(0), past, x.size(2)}, x.options());
  const Tensor all = at::cat({before.defined() ? before : none, x}, 1);
  Tensor sum = at::zeros_like(x);
  for (int64_t k = 0; k <= past; ++k) sum = sum + all.narrow(1, k, length) * taps.select(1, k);
  return at::silu(bias.defined() ? sum + bias : sum);
}

double relative_error(const Tensor& a, const Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).abs().max() / b.abs().max()).item<double>();
}

struct Problem {
  Tensor x, taps, bias, before;
};

Problem random_problem(int64_t batch, int64_t length, int64_t channels, int64_t width) {
  at::manual_seed(batch + length + channels + width);
  const auto draw = [](at::IntArrayRef sizes) { return at::randn(sizes, at::kDouble).to(at::kFloat).to(at::kDouble); };
  return {draw({batch, length, channels}) * 3, draw({channels, width}), draw({channels}),
          draw({batch, width - 1, channels})};
}

TEST_CASE("the convolution is the sum that defines it, forward and backward, at any width") {
  for (const auto& [batch, length, channels] : {std::tuple{1, 1, 1}, {2, 3, 5}, {1, 40, 16}, {3, 33, 131}}) {
    for (int64_t width = 1; width <= kMaxConvWidth; ++width) {
      const Problem exact = random_problem(batch, length, channels, width);
      for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
        const double forward_bound = type == at::kDouble ? 1e-13 : 1e-5, bound = 10 * forward_bound;
        CAPTURE(batch, length, channels, width, type);
        const auto leaf = [&](const Tensor& tensor) { return tensor.to(type).clone().requires_grad_(); };
        for (const bool with_bias : {true, false}) {
          std::vector<Tensor> own = {leaf(exact.x), leaf(exact.taps)};
          std::vector<Tensor> wide = {exact.x.clone().requires_grad_(), exact.taps.clone().requires_grad_()};
          if (with_bias) {
            own.push_back(leaf(exact.bias));
            wide.push_back(exact.bias.clone().requires_grad_());
          }
          const Tensor got = conv_silu(own[0], own[1], with_bias ? own[2] : Tensor(), {});
          const Tensor want = reference(wide[0], wide[1], with_bias ? wide[2] : Tensor(), {});
          CHECK(relative_error(got, want) < forward_bound);
          const Tensor weights = at::sin(at::arange(1, want.numel() + 1, at::kDouble)).reshape(want.sizes());
          const auto gradients = torch::autograd::grad({(got * weights.to(type)).sum()}, own);
          const auto wanted = torch::autograd::grad({(want * weights).sum()}, wide);
          for (size_t i = 0; i < own.size(); ++i) CHECK(relative_error(gradients[i], wanted[i]) < bound);
        }
        const Tensor got = conv_silu(exact.x.to(type), exact.taps.to(type), exact.bias.to(type), exact.before.to(type));
        CHECK(relative_error(got, reference(exact.x, exact.taps, exact.bias, exact.before)) < forward_bound);
      }
    }
  }
}

TEST_CASE("the convolution reads steps that lie apart, and saturates without NaN") {
  const Problem p = random_problem(2, 9, 12, 4);
  const Tensor joined = at::cat({p.x, at::randn_like(p.x)}, 2);
  CHECK(at::equal(conv_silu(joined.narrow(2, 0, 12), p.taps, p.bias, {}), conv_silu(p.x, p.taps, p.bias, {})));
  for (const double huge : {1e4, -1e4, 1e30, -1e30}) {
    const Tensor x = at::full({1, 2, 3}, huge, at::kFloat).requires_grad_(), taps = at::ones({3, 1}, at::kFloat);
    const Tensor y = conv_silu(x, taps, {}, {});
    CHECK(at::isfinite(y).all().item<bool>());
    CHECK(y.max().item<double>() == Approx(huge > 0 ? huge : 0).margin(1e-6));
    CHECK(at::isfinite(torch::autograd::grad({y.sum()}, {x})[0]).all().item<bool>());
  }
}

TEST_CASE("one and two threads convolve to the same bits") {
  const Problem p = random_problem(2, 70, 200, 4);
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    const std::vector<Tensor> own = {p.x.to(at::kFloat).requires_grad_(), p.taps.to(at::kFloat).requires_grad_(),
                                     p.bias.to(at::kFloat).requires_grad_()};
    const Tensor y = conv_silu(own[0], own[1], own[2], {});
    std::vector<Tensor> all = torch::autograd::grad({y.square().sum()}, own);
    all.push_back(y.detach());
    return all;
  };
  const auto one = run(1), two = run(2);
  at::set_num_threads(before);
  for (size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], two[i]));
}

TEST_CASE("what the convolution has no kernel for is said beforehand") {
  const Problem p = random_problem(1, 5, 4, 3);
  CHECK(has_conv_kernel(p.x, p.taps, p.bias, p.before));
  CHECK_FALSE(has_conv_kernel(p.x.to(at::kHalf), p.taps, p.bias, {}));
  CHECK_FALSE(has_conv_kernel(p.x, at::ones({4, kMaxConvWidth + 1}, at::kDouble), p.bias, {}));
  CHECK_FALSE(has_conv_kernel(p.x.clone().requires_grad_(), p.taps, p.bias, p.before));
}

}  // namespace
}  // namespace colonnade::mamba
