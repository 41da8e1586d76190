// The scan with softplus and gate in one op, against the reference with both around it.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>

#include "colonnade/tensor/tensor.h"
#include "plugins/mamba/gated_scan.h"
#include "plugins/mamba/scan_op.h"

namespace colonnade::mamba {
namespace {

Tensor draw(const char* name, at::IntArrayRef shape) {
  return random_normal(RandomStream(9).at(name), shape, at::kDouble);
}

/// Leaves, and the scan's inputs made of them: z is a slice, A is negative, steps reach where softplus is linear.
struct Problem {
  std::vector<Tensor> leaves;
  GatedScan in;
};

Problem random_problem(std::int64_t batch, std::int64_t length, std::int64_t channels, std::int64_t states, bool biased,
                       at::ScalarType type) {
  Problem p;
  const auto leaf = [&](const char* name, at::IntArrayRef shape, double scale = 1) {
    p.leaves.push_back((draw(name, shape) * scale).to(type).requires_grad_());
    return p.leaves.back();
  };
  p.in.x = leaf("x", {batch, length, channels});
  p.in.delta = leaf("delta", {batch, length, channels}, 9);
  if (biased) p.in.bias = leaf("bias", {channels});
  p.in.a = -at::exp(leaf("a", {channels, states}));
  p.in.b = leaf("b", {batch, length, states});
  p.in.c = leaf("c", {batch, length, states});
  p.in.d = leaf("d", {channels});
  p.in.z = leaf("z", {batch, length, 2 * channels}).narrow(-1, channels, channels);
  return p;
}

Tensor in_parts(const GatedScan& in, Discretization discretization) {
  const Tensor steps = at::softplus(in.bias.defined() ? in.delta + in.bias : in.delta);
  return selective_scan_reference(in.x, steps, in.a, in.b, in.c, in.d, {}, discretization).y * at::silu(in.z);
}

double relative_error(const Tensor& a, const Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

TEST_CASE("the gated scan has the values and gradients of its parts") {
  const at::AutoGradMode recording(true);
  const auto discretization = GENERATE(Discretization::mamba, Discretization::zoh);
  for (const bool biased : {true, false}) {
    for (const auto& [batch, length, channels, states] : {std::tuple{1, 1, 1, 1}, {2, 37, 5, 3}, {1, 70, 67, 4}}) {
      CAPTURE(biased, batch, length, channels, states);
      const Problem p = random_problem(batch, length, channels, states, biased, at::kDouble);
      REQUIRE(has_gated_scan(p.in.x));
      const Tensor got = gated_scan(p.in, discretization), want = in_parts(p.in, discretization);
      CHECK(relative_error(got, want) < 1e-12);
      const Tensor upstream = draw("dy", want.sizes());
      const auto ours = torch::autograd::grad({got}, p.leaves, {upstream}, true);
      const auto theirs = torch::autograd::grad({want}, p.leaves, {upstream});
      for (std::size_t i = 0; i < ours.size(); ++i) CHECK(at::allclose(ours[i], theirs[i], 1e-9, 1e-11));
      const at::NoGradGuard unrecorded;
      CHECK(at::equal(gated_scan(p.in, discretization), got));
    }
  }
}

TEST_CASE("the gated scan and its gradients are the same bits for one thread and two") {
  const at::AutoGradMode recording(true);
  const Problem p = random_problem(2, 65, 130, 16, true, at::kFloat);
  const int before = at::get_num_threads();
  std::vector<std::vector<Tensor>> found;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const Tensor y = gated_scan(p.in, Discretization::mamba);
    found.push_back(torch::autograd::grad({y.square().sum()}, p.leaves, {}, true));
    found.back().push_back(y);
  }
  at::set_num_threads(before);
  for (std::size_t i = 0; i < found[0].size(); ++i) CHECK(at::equal(found[0][i], found[1][i]));
}

}  // namespace
}  // namespace colonnade::mamba
