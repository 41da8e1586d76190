// Values and gradients of what devices fuse, against the tensor ops that say what it is. On a card the same primitives
// are held against these by tests/device.
#include "sdk/tensor/src/fused_ops.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "colonnade/tensor/device.h"
#include "sdk/tensor/src/fused_primitives.h"

using namespace colonnade;

namespace {

Tensor draw(at::IntArrayRef shape, const char* name) {
  return random_normal(RandomStream(3).at(name), shape, at::kDouble).requires_grad_(true);
}

/// Both functions and all gradients agree, for random gradients of the results.
void check_alike(const std::vector<Tensor>& found, const std::vector<Tensor>& wanted,
                 const std::vector<Tensor>& leaves) {
  REQUIRE(found.size() == wanted.size());
  std::vector<Tensor> upstream;
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(at::allclose(found[i], wanted[i], 1e-12, 1e-12));
    upstream.push_back(draw(wanted[i].sizes(), "upstream").detach());
  }
  const auto ours = torch::autograd::grad(found, leaves, upstream);
  const auto theirs = torch::autograd::grad(wanted, leaves, upstream);
  for (std::size_t i = 0; i < leaves.size(); ++i) CHECK(at::allclose(ours[i], theirs[i], 1e-10, 1e-10));
}

Tensor normalised(const Tensor& x, const Tensor& weight) {
  return x * at::rsqrt(x.square().mean(-1, true) + 1e-5) * weight;
}

}  // namespace

TEST_CASE("A sum and its RMS norm in one have the gradients of both", "[fused]") {
  const Tensor x = draw({2, 3, 8}, "x"), branch = draw({2, 3, 8}, "branch"), weight = draw({8}, "weight");
  const auto [sum, normal] = add_rms_norm(x, branch, weight, 1e-5, at::kDouble);
  check_alike({sum, normal}, {x + branch, normalised(x + branch, weight)}, {x, branch, weight});
  const auto [same, alone] = add_rms_norm(x, Tensor(), weight, 1e-5, at::kDouble);
  CHECK(same.is_same(x));
  check_alike({alone}, {normalised(x, weight)}, {x, weight});
}

TEST_CASE("A branch that is only broadcast is added as tensor ops add it, and a weight that does not fit is refused",
          "[fused]") {
  const Tensor x = draw({2, 3, 8}, "x"), branch = draw({3, 8}, "branch"), weight = draw({8}, "weight");
  const auto [sum, normal] = add_rms_norm(x, branch, weight, 1e-5, at::kDouble);
  check_alike({sum, normal}, {x + branch, normalised(x + branch, weight)}, {x, branch, weight});
  CHECK_THROWS_AS(add_rms_norm(x, Tensor(), draw({6}, "weight"), 1e-5, at::kDouble), c10::Error);
}

TEST_CASE("On the CPU a sum and its RMS norm have the gradients of finite differences", "[fused]") {
  // More rows than one share of the weight's gradient has, and rows that are no multiple of any register.
  const std::vector<Tensor> leaves = {draw({2, 19, 11}, "x"), draw({2, 19, 11}, "branch"), draw({11}, "weight")};
  const Tensor of_sum = draw({2, 19, 11}, "of sum").detach(), of_normal = draw({2, 19, 11}, "of normal").detach();
  const auto loss = [&] {
    const auto [sum, normal] = add_rms_norm(leaves[0], leaves[1], leaves[2], 1e-5, at::kDouble);
    return (sum * of_sum).sum() + (normal * of_normal).sum();
  };
  const auto gradients = torch::autograd::grad({loss()}, leaves);
  const at::NoGradGuard unrecorded;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    Tensor numbers = leaves[i].detach().reshape({-1});
    const Tensor found = gradients[i].reshape({-1});
    constexpr double step = 1e-5;  // its error is of the order of its square
    for (std::int64_t at = 0; at < numbers.size(0); at += 7) {
      const double value = numbers[at].item<double>();
      const auto loss_at = [&](double there) {
        numbers[at] = there;
        return loss().item<double>();
      };
      const double slope = (loss_at(value + step) - loss_at(value - step)) / (2 * step);
      numbers[at] = value;
      CHECK(found[at].item<double>() == Approx(slope).epsilon(1e-7).margin(1e-8));
    }
  }
}

TEST_CASE("On the CPU norms are the same bits for any number of threads, recorded or not", "[fused]") {
  const auto single = [](at::IntArrayRef shape, const char* name) {
    return draw(shape, name).detach().to(at::kFloat).requires_grad_(true);
  };
  const Tensor x = single({3, 211, 96}, "x"), branch = single({3, 211, 96}, "branch"), weight = single({96}, "weight");
  const int before = at::get_num_threads();
  std::vector<std::vector<Tensor>> found;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const auto [sum, normal] = add_rms_norm(x, branch, weight, 1e-5, at::kFloat);
    found.push_back({sum, normal});
    for (const Tensor& gradient : torch::autograd::grad({normal.square().sum() + sum.sum()}, {x, branch, weight})) {
      found.back().push_back(gradient);
    }
  }
  at::set_num_threads(before);
  for (std::size_t i = 0; i < found[0].size(); ++i) CHECK(at::equal(found[0][i], found[1][i]));
  const at::NoGradGuard unrecorded;
  CHECK(at::equal(std::get<1>(add_rms_norm(x, branch, weight, 1e-5, at::kFloat)), found[0][1]));
  const Tensor wide = normalised((x + branch).to(at::kDouble), weight.to(at::kDouble));
  CHECK(at::allclose(found[0][1].to(at::kDouble), wide, 1e-6, 1e-6));
}

TEST_CASE("A sum that nothing normalised is read of passes its gradient on", "[fused]") {
  const Tensor x = draw({4, 8}, "x"), branch = draw({4, 8}, "branch"), weight = draw({8}, "weight");
  const auto [sum, normal] = add_rms_norm(x, branch, weight, 1e-5, at::kDouble);
  const auto gradients = torch::autograd::grad({sum.sum()}, {x, branch}, {}, std::nullopt, false, true);
  CHECK(at::equal(gradients[0], at::ones_like(x)));
  CHECK(at::equal(gradients[1], at::ones_like(x)));
}

TEST_CASE("A convolution and its silu in one have the gradients of both", "[fused]") {
  for (const std::int64_t width : {2, 4, 8}) {
    for (const bool biased : {true, false}) {
      const Tensor x = draw({2, 5, 3}, "x"), taps = draw({3, width}, "taps");
      const Tensor bias = biased ? draw({3}, "bias") : Tensor();
      const Tensor padded = at::constant_pad_nd(x, {0, 0, width - 1, 0}).transpose(1, 2);
      Tensor before =
          at::conv1d(padded, taps.unsqueeze(1), bias, at::IntArrayRef{1}, at::IntArrayRef{0}, at::IntArrayRef{1}, 3)
              .transpose(1, 2);
      std::vector<Tensor> leaves = {x, taps};
      if (biased) leaves.push_back(bias);
      check_alike({causal_conv1d_silu(x, taps, bias)}, {at::silu(before)}, leaves);
    }
  }
}

TEST_CASE("Cross entropy of a product in pieces is that of the whole", "[fused]") {
  const Tensor x = draw({7, 4}, "x"), weight = draw({5, 4}, "weight");
  const Tensor targets = at::tensor({0, 4, -100, 2, 2, -100, 1}, at::kLong);
  for (const std::int64_t piece : {2, 7, 100}) {
    const Tensor wanted = at::cross_entropy_loss(at::matmul(x, weight.t()), targets);
    const Tensor found = product_cross_entropy(x, weight, targets, piece, at::kDouble);
    check_alike({found}, {wanted}, {x, weight});
  }
  const Tensor nothing = product_cross_entropy(x, weight, at::full_like(targets, -100), 3, at::kDouble);
  CHECK(nothing.item<double>() == 0);
}

TEST_CASE("On the CPU nothing moves and only norms are fused", "[fused]") {
  CHECK(computes_on_cpu());
  const Tensor ids = at::zeros({1, 2}, at::kLong);
  const Batch batch = on_compute_device({{{"ids", ids}}});
  CHECK(batch.at("ids").is_same(ids));
  CHECK_FALSE(batch.id_range.has_value());
  CHECK_FALSE(has_fused_ops(draw({1}, "x")));
  CHECK(has_fused_norm(draw({1}, "x"), 1));
  CHECK_FALSE(has_fused_norm(ids, 2));
  CHECK(product_type(ids.to(at::kFloat)) == at::kFloat);
}
