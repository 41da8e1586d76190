// The scan as a differentiable op, against the loop in tensor ops in float64 and against finite differences.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <vector>

#include "plugins/mamba/scan_op.h"

namespace colonnade::mamba {
namespace {

/// x, delta, A, B, C, D, h0.
using Inputs = std::vector<at::Tensor>;
using Scan = std::function<ScanResult(const Inputs&)>;

Inputs random_inputs(int64_t batch, int64_t length, int64_t channels, int64_t states, int64_t seed) {
  at::manual_seed(seed);
  const auto draw = [](at::IntArrayRef sizes) { return at::randn(sizes, at::kDouble).to(at::kFloat).to(at::kDouble); };
  return {draw({batch, length, channels}),
          (draw({batch, length, channels}) - 2).exp().to(at::kFloat).to(at::kDouble),
          -(draw({channels, states}) + 0.5).exp().to(at::kFloat).to(at::kDouble),
          draw({batch, length, states}),
          draw({batch, length, states}),
          draw({channels}),
          draw({batch, channels, states})};
}

Inputs leaves(const Inputs& inputs, at::ScalarType type) {
  Inputs copies;
  for (const at::Tensor& tensor : inputs) copies.push_back(tensor.detach().to(type).clone().requires_grad_());
  return copies;
}

Scan op(Discretization discretization) {
  return
      [=](const Inputs& in) { return selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], in[6], discretization); };
}

Scan reference(Discretization discretization) {
  return [=](const Inputs& in) {
    return selective_scan_reference(in[0], in[1], in[2], in[3], in[4], in[5], in[6], discretization);
  };
}

/// A scalar that every output enters with weights of its own.
at::Tensor objective(const ScanResult& result) {
  const auto weights = [](const at::Tensor& like) {
    return at::sin(at::arange(like.numel(), at::kDouble) * 0.7 + 0.3).reshape(like.sizes()).to(like.scalar_type());
  };
  return (result.y * weights(result.y)).sum() + (result.h_last * weights(result.h_last)).sum();
}

std::vector<at::Tensor> gradients(const Scan& scan, const Inputs& inputs) {
  return torch::autograd::grad({objective(scan(inputs))}, inputs);
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).abs().max() / b.to(at::kDouble).abs().max()).item<double>();
}

constexpr Discretization kBoth[] = {Discretization::mamba, Discretization::zoh};

TEST_CASE("the op agrees with the loop in tensor ops, forward and backward") {
  const int64_t sizes[][4] = {{1, 1, 1, 1}, {2, 7, 13, 3}, {2, 65, 24, 16}, {1, 40, 131, 16}, {1, 34, 5, 64}};
  int64_t seed = 0;
  for (const auto& size : sizes) {
    const Inputs inputs = random_inputs(size[0], size[1], size[2], size[3], ++seed);
    for (const Discretization discretization : kBoth) {
      CAPTURE(size[0], size[1], size[2], size[3], discretization_name(discretization));
      const Inputs exact = leaves(inputs, at::kDouble);
      const ScanResult want = reference(discretization)(exact);
      const auto want_gradients = gradients(reference(discretization), exact);
      for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
        const Inputs own = leaves(inputs, type);
        const ScanResult got = op(discretization)(own);
        CHECK(relative_error(got.y, want.y) < (type == at::kFloat ? 1e-5 : 1e-12));
        CHECK(relative_error(got.h_last, want.h_last) < (type == at::kFloat ? 1e-5 : 1e-12));
        const auto got_gradients = gradients(op(discretization), own);
        for (size_t i = 0; i < own.size(); ++i) {
          CAPTURE(i, type);
          CHECK(relative_error(got_gradients[i], want_gradients[i]) < (type == at::kFloat ? 1e-4 : 1e-11));
        }
      }
    }
  }
}

TEST_CASE("gradients agree with finite differences in float64") {
  const Inputs inputs = random_inputs(2, 5, 3, 2, 21);
  constexpr double kStep = 1e-6;
  for (const Discretization discretization : kBoth) {
    const auto got = gradients(op(discretization), leaves(inputs, at::kDouble));
    for (size_t i = 0; i < inputs.size(); ++i) {
      at::Tensor numeric = at::zeros_like(inputs[i]);
      for (int64_t j = 0; j < numeric.numel(); ++j) {
        const auto value_at = [&](double step) {
          Inputs moved = inputs;
          moved[i] = inputs[i].clone();
          moved[i].view(-1)[j] += step;
          return objective(op(discretization)(moved)).item<double>();
        };
        numeric.view(-1)[j] = (value_at(kStep) - value_at(-kStep)) / (2 * kStep);
      }
      CAPTURE(i, discretization_name(discretization));
      CHECK(relative_error(got[i], numeric) < 1e-7);
    }
  }
}

TEST_CASE("skip and initial state are optional, and strided inputs are read rightly") {
  const Inputs inputs = random_inputs(2, 11, 9, 4, 5);
  const at::Tensor none;
  const auto joined = at::cat({inputs[3], inputs[4]}, 2);
  const at::Tensor b = joined.narrow(2, 0, 4);
  const at::Tensor c = joined.narrow(2, 4, 4);
  const at::Tensor x = inputs[0].transpose(0, 1).contiguous().transpose(0, 1);
  const auto got = selective_scan(x, inputs[1], inputs[2], b, c, none, none, Discretization::mamba);
  const auto want = selective_scan_reference(inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], none, none,
                                             Discretization::mamba);
  CHECK(relative_error(got.y, want.y) < 1e-12);
  CHECK(relative_error(got.h_last, want.h_last) < 1e-12);
}

TEST_CASE("gradients are the loop's where there is no skip and no initial state, and no gradient of y") {
  Inputs inputs = random_inputs(2, 11, 9, 4, 12);
  inputs.resize(5);
  const auto run = [&](auto scan, bool through_y) {
    const Inputs own = leaves(inputs, at::kDouble);
    const ScanResult result =
        scan(own[0], own[1], own[2], own[3], own[4], at::Tensor(), at::Tensor(), Discretization::mamba);
    return torch::autograd::grad({(through_y ? result.y : result.h_last).square().sum()}, own, {}, {}, false, true);
  };
  for (const bool through_y : {true, false}) {
    const auto got = run(selective_scan, through_y);
    const auto want = run(selective_scan_reference, through_y);
    for (size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i, through_y);
      if (!want[i].defined()) {
        CHECK(got[i].abs().max().item<double>() == 0);
      } else {
        CHECK(relative_error(got[i], want[i]) < 1e-11);
      }
    }
  }
}

TEST_CASE("an empty sequence leaves the state as it was") {
  Inputs inputs = random_inputs(2, 1, 9, 4, 6);
  for (const size_t i : {0, 1, 3, 4}) inputs[i] = inputs[i].narrow(1, 0, 0);
  const auto result = op(Discretization::mamba)(inputs);
  CHECK(result.y.numel() == 0);
  CHECK(at::equal(result.h_last, inputs[6]));
}

TEST_CASE("one and two threads give the same bits, forward and backward") {
  const Inputs inputs = random_inputs(2, 70, 200, 16, 8);
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    const Inputs own = leaves(inputs, at::kFloat);
    std::vector<at::Tensor> all = gradients(op(Discretization::mamba), own);
    const ScanResult result = op(Discretization::mamba)(own);
    all.push_back(result.y);
    all.push_back(result.h_last);
    return all;
  };
  const auto one = run(1);
  const auto two = run(2);
  at::set_num_threads(before);
  for (size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], two[i]));
}

TEST_CASE("the op runs without autograd, in inference mode too") {
  const Inputs inputs = random_inputs(1, 6, 5, 2, 9);
  const auto want = op(Discretization::zoh)(leaves(inputs, at::kDouble));
  CHECK(want.y.requires_grad());
  const c10::InferenceMode inference;
  const auto got = op(Discretization::zoh)(inputs);
  CHECK_FALSE(got.y.requires_grad());
  CHECK(at::equal(got.y, want.y.detach()));
}

TEST_CASE("mismatched inputs are named") {
  Inputs inputs = random_inputs(1, 6, 5, 2, 9);
  inputs[3] = inputs[3].narrow(1, 0, 4);
  CHECK_THROWS_WITH(op(Discretization::mamba)(inputs), Catch::Contains("B is [1, 4, 2], expected [1, 6, 2]"));
  inputs = random_inputs(1, 6, 5, 2, 9);
  inputs[5] = inputs[5].to(at::kFloat);
  CHECK_THROWS_WITH(op(Discretization::mamba)(inputs), Catch::Contains("D is Float"));
  CHECK_THROWS_WITH(parse_discretization("euler"), Catch::Contains("'euler'") && Catch::Contains("mamba, zoh"));
}

}  // namespace
}  // namespace colonnade::mamba
