#include "colonnade/tensor/tensor.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/ops/rand.h>

#include <catch2/catch.hpp>
#include <limits>

#include "colonnade/error.h"
#include "colonnade/registry.h"
#include "tests/sdk/tensor/fixtures.h"

namespace colonnade {

namespace {

using laws::same_bits;
using small::error_of;

using Draw = Tensor (*)(const RandomStream&, at::IntArrayRef, at::ScalarType);
using DrawOne = double (RandomStream::*)(std::uint64_t) const;
const std::vector<std::pair<Draw, DrawOne>> draws = {{random_uniform, &RandomStream::uniform},
                                                     {random_normal, &RandomStream::normal},
                                                     {random_logistic, &RandomStream::logistic},
                                                     {random_gumbel, &RandomStream::gumbel}};

}  // namespace

TEST_CASE("random tensors hold the stream's numbers, element by element, whatever the shape") {
  const RandomStream stream(42);
  for (const auto& [draw, one] : draws) {
    const Tensor flat = draw(stream, {105}, at::kDouble), cube = draw(stream, {3, 5, 7}, at::kDouble);
    CHECK(same_bits(flat, cube.reshape({-1})));
    for (const std::int64_t i : {0, 1, 17, 104}) {
      CHECK(flat[i].item<double>() == (stream.*one)(static_cast<std::uint64_t>(i)));
    }
    CHECK(draw(stream, {0, 4}, at::kDouble).numel() == 0);
  }
}

TEST_CASE("random tensors do not depend on the number of threads, and fp32 is fp64 rounded") {
  const int threads = at::get_num_threads();
  const RandomStream stream(7);
  for (const auto& [draw, one] : draws) {
    at::set_num_threads(1);
    const Tensor single = draw(stream, {50000}, at::kDouble);
    at::set_num_threads(4);
    CHECK(same_bits(draw(stream, {50000}, at::kDouble), single));
    CHECK(same_bits(draw(stream, {50000}, at::kFloat), single.to(at::kFloat)));
  }
  at::set_num_threads(threads);
}

TEST_CASE("random tensors have the moments of their distributions") {
  constexpr std::int64_t n = 200000;
  constexpr double pi = 3.14159265358979323846, euler = 0.57721566490153286;
  const std::vector<std::pair<double, double>> moments = {
      {0.5, 1.0 / 12}, {0, 1}, {0, pi * pi / 3}, {euler, pi * pi / 6}};
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const Tensor values = draws[i].first(RandomStream(9).at(i), {n}, at::kDouble);
    const auto [mean, variance] = moments[i];
    CHECK(std::abs(values.mean().item<double>() - mean) < 5 * std::sqrt(variance / n));
    CHECK(values.var().item<double>() == Approx(variance).epsilon(0.03));
  }
}

TEST_CASE("random permutations hold every number once, and every order turns up alike") {
  const Tensor order = random_permutation(RandomStream(3), 1000);
  CHECK(at::equal(std::get<0>(order.sort()), at::arange(1000, at::kLong)));
  CHECK_FALSE(at::equal(order, at::arange(1000, at::kLong)));
  CHECK(random_permutation(RandomStream(3), 0).numel() == 0);
  std::map<std::string, int> seen;
  constexpr int trials = 12000;
  for (int trial = 0; trial < trials; ++trial) {
    const Tensor three = random_permutation(RandomStream(4).at(static_cast<std::uint64_t>(trial)), 3);
    ++seen[Json(std::vector<std::int64_t>(three.data_ptr<std::int64_t>(), three.data_ptr<std::int64_t>() + 3)).dump()];
  }
  REQUIRE(seen.size() == 6);
  for (const auto& [text, count] : seen) CHECK(std::abs(count - trials / 6) < 5 * std::sqrt(trials * 5.0 / 36));
}

TEST_CASE("blobs and tensors share memory, every type goes both ways, views are made whole") {
  for (const auto type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf, at::kBFloat16,
                          at::kFloat, at::kDouble}) {
    const Tensor tensor = at::arange(6, at::kLong).reshape({2, 3}).to(type);
    const Blob blob = to_blob(tensor);
    CHECK(blob.data() == tensor.const_data_ptr());
    const Tensor back = to_tensor(blob);
    CHECK(back.const_data_ptr() == tensor.const_data_ptr());
    CHECK(back.scalar_type() == type);
    CHECK(at::equal(back, tensor));
    CHECK(at::equal(to_tensor(to_blob(tensor.t())), tensor.t()));
  }
  CHECK(to_tensor(to_blob(at::zeros({0, 3}))).sizes() == at::IntArrayRef({0, 3}));
  CHECK(error_of([] { dtype_of(at::kComplexFloat); }) == "tensors of type ComplexFloat cannot be stored");
}

TEST_CASE("a tensor keeps its blob's memory alive") {
  Tensor tensor;
  {
    const std::vector<double> numbers = {1, 2, 3};
    tensor = to_tensor(Blob::of(DType::f64, numbers));
  }
  CHECK(tensor.sum().item<double>() == 6);
}

TEST_CASE("NaN and infinities are told apart and named") {
  Tensor tensor = at::ones({4});
  CHECK(error_of([&] { require_finite(tensor, "x"); }).empty());
  tensor[1] = std::numeric_limits<float>::infinity();
  CHECK(error_of([&] { require_finite(tensor, "x"); }) == "an infinity in x");
  tensor[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK(error_of([&] { require_finite(tensor, "x"); }) == "NaN in x");
  CHECK(error_of([&] { require_finite(at::ones({2}, at::kLong), "x"); }).empty());
  CHECK(error_of([&] { require_finite(Tensor(), "x"); }).empty());
}

TEST_CASE("the worker's probe sees who draws from LibTorch's own generator, and our draws leave it alone") {
  const auto& services = worker_services();
  const auto found = std::find_if(services.begin(), services.end(),
                                  [](const WorkerService& each) { return each.name == "at::CPUGenerator"; });
  REQUIRE(found != services.end());
  const std::string before = found->generator_state();
  CHECK(found->generator_state() == before);
  for (const auto& [draw, one] : draws) draw(RandomStream(1), {100}, at::kFloat);
  small::make().forward(small::batch());
  CHECK(found->generator_state() == before);
  at::rand({1});
  CHECK(found->generator_state() != before);
}

}  // namespace colonnade
