#include <catch2/catch.hpp>
#include <fstream>

#include "plugins/train/adamw.h"
#include "tests/support/peft_oracle.h"
#include "tests/support/small_model.h"

namespace colonnade {

namespace {

const char* const matrix_site = "layers.0.in_proj";
const char* const vector_site = "layers.0.norm";

Json pytorch() {
  std::ifstream file(std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/adamw.json");
  return Json::parse(file);
}

Parameter parameter_of(const std::string& site, Tensor& tensor) {
  return {site + ":S", site, &tensor, 0, -1, {}, 1};
}

}  // namespace

TEST_CASE("AdamW takes PyTorch's steps, with decay on matrices only") {
  const Json oracle = pytorch();
  const Json& numbers = oracle.at("options");
  const AdamWOptions options{numbers.at("beta1"), numbers.at("beta2"), numbers.at("epsilon"),
                             numbers.at("weight_decay")};
  const Model model = small::make();
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    const double tolerance = type == at::kDouble ? 1e-13 : 1e-5;
    Tensor matrix = tensor_of(oracle.at("matrix")).to(type), vector = tensor_of(oracle.at("vector")).to(type);
    const std::vector<Parameter> parameters = {parameter_of(matrix_site, matrix), parameter_of(vector_site, vector)};
    ParameterState state;
    REQUIRE(oracle.at("steps").size() > 10);
    for (const Json& step : oracle.at("steps")) {
      adamw_step(parameters,
                 {tensor_of(step.at("matrix_gradient")).to(type), tensor_of(step.at("vector_gradient")).to(type)},
                 state, step.at("learning_rate").get<double>(), options, model);
      CHECK(small::relative_error(matrix, tensor_of(step.at("matrix"))) < tolerance);
      CHECK(small::relative_error(vector, tensor_of(step.at("vector"))) < tolerance);
    }
  }
}

TEST_CASE("decay is for matrices of products, not for vectors, matrices that no product applies, or adapters") {
  const Model model = small::make();
  const auto decayed = [&](const std::string& name, const std::string& site) {
    return decays(model, {name, site, nullptr, -1, -1, {}, 1});
  };
  CHECK(decayed("layers.0.in_proj:S", "layers.0.in_proj"));
  CHECK(decayed("layers.0.in_proj:U", "layers.0.in_proj"));
  CHECK(decayed("layers.0.in_proj:V", "layers.0.in_proj"));
  CHECK(decayed("layers.0.conv1d:S", "layers.0.conv1d"));
  CHECK(decayed("embedding:S", "embedding"));
  CHECK_FALSE(decayed("layers.0.norm:S", "layers.0.norm"));
  CHECK_FALSE(decayed("layers.0.in_proj.bias:S", "layers.0.in_proj.bias"));
  CHECK_FALSE(decayed("layers.0.decay:S", "layers.0.decay"));
  CHECK_FALSE(decayed("layers.0.in_proj:adapters.0.A", "layers.0.in_proj"));
}

TEST_CASE("a rate multiplies the learning rate of one parameter") {
  const Model model = small::make();
  Tensor plain = at::ones({4}, at::kDouble), fast = at::ones({4}, at::kDouble);
  std::vector<Parameter> parameters = {parameter_of(vector_site, plain), parameter_of("layers.1.norm", fast)};
  parameters[1].rate = 50;
  ParameterState state;
  const Tensor gradient = at::arange(1, 5, at::kDouble);
  adamw_step(parameters, {gradient, gradient}, state, 1e-3, {}, model);
  CHECK(small::relative_error(fast - 1, (plain - 1) * 50) < 1e-10);
  CHECK(plain[0].item<double>() == Approx(1 - 1e-3));
}

TEST_CASE(
    "masked elements become zero and stay zero; without a gradient nothing changes; old tensors are not written") {
  const Model model = small::make();
  Tensor masked = at::ones({4}, at::kDouble), idle = at::ones({4}, at::kDouble);
  const Tensor before = masked;
  std::vector<Parameter> parameters = {parameter_of(vector_site, masked), parameter_of("layers.1.norm", idle)};
  parameters[0].mask = at::arange(4, at::kLong) < 2;
  ParameterState state;
  for (int step = 0; step < 3; ++step)
    adamw_step(parameters, {at::full({4}, 0.5, at::kDouble), Tensor()}, state, 0.1, {}, model);
  CHECK(masked.narrow(0, 2, 2).eq(0).all().item<bool>());
  CHECK(masked.narrow(0, 0, 2).lt(0.8).all().item<bool>());
  CHECK(at::equal(idle, at::ones({4}, at::kDouble)));
  CHECK(!state.contains("layers.1.norm:S"));
  CHECK(at::equal(before, at::ones({4}, at::kDouble)));
}

TEST_CASE("each parameter counts its own updates, so that one that joins late is corrected like a new one") {
  const Model model = small::make();
  const Tensor gradient = at::full({3}, 0.25, at::kDouble);
  Tensor early = at::ones({3}, at::kDouble), late = at::ones({3}, at::kDouble);
  const std::vector<Parameter> parameters = {parameter_of(vector_site, early), parameter_of("layers.1.norm", late)};
  ParameterState state;
  for (int step = 0; step < 5; ++step) adamw_step(parameters, {gradient, Tensor()}, state, 1e-2, {}, model);
  adamw_step(parameters, {gradient, gradient}, state, 1e-2, {}, model);
  // The first step is one learning rate long.
  CHECK(late[0].item<double>() == Approx(1 - 1e-2));
  CHECK(early[0].item<double>() == Approx(1 - 6e-2));
}

TEST_CASE("a parameter of another shape starts afresh, one in another layout in memory does not matter") {
  const Model model = small::make();
  ParameterState state;
  Tensor small_one = at::ones({2, 3}, at::kDouble);
  adamw_step({parameter_of(matrix_site, small_one)}, {at::ones({2, 3}, at::kDouble)}, state, 0.1, {}, model);
  Tensor grown = at::ones({4, 3}, at::kDouble);
  const Tensor gradient = at::arange(1, 13, at::kDouble).reshape({4, 3});
  adamw_step({parameter_of(matrix_site, grown)}, {gradient}, state, 0.1, {}, model);
  ParameterState fresh;
  Tensor transposed = at::ones({3, 4}, at::kDouble).t();
  REQUIRE(!transposed.is_contiguous());
  adamw_step({parameter_of(matrix_site, transposed)}, {gradient.t().contiguous().t()}, fresh, 0.1, {}, model);
  CHECK(at::equal(grown, transposed));
}

}  // namespace colonnade
