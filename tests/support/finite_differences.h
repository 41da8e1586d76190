#pragma once

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "colonnade/tensor/model.h"

namespace colonnade {

// Holds the gradient of `value` in every trainable parameter of a float64 model against central differences, at a few
// elements of each. `model` must be writable; every parameter must be reached unless `unreached` allows it.
inline void check_gradients(Model& model, const std::function<Tensor(const Model&)>& value, double tolerance = 1e-6) {
  constexpr double step = 1e-6;
  constexpr std::int64_t elements_each = 5;
  auto parameters = model.parameters();
  REQUIRE(!parameters.empty());
  std::vector<Tensor> leaves;
  for (Parameter& parameter : parameters) {
    *parameter.tensor = parameter.tensor->detach().clone().requires_grad_(true);
    leaves.push_back(*parameter.tensor);
  }
  std::vector<Tensor> gradients;
  {
    at::AutoGradMode recording(true);
    for (Tensor& gradient : torch::autograd::grad({value(model)}, leaves, {}, std::nullopt, false, true))
      gradients.push_back(gradient);
  }
  at::NoGradGuard guard;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    INFO("parameter " << parameters[i].name);
    REQUIRE(gradients[i].defined());
    Tensor plain = leaves[i].detach().clone();
    *parameters[i].tensor = plain;
    Tensor gradient = gradients[i].contiguous();
    for (std::int64_t k = 0; k < elements_each; ++k) {
      const std::int64_t at = k * plain.numel() / elements_each;
      double* element = plain.data_ptr<double>() + at;
      const double kept = *element;
      *element = kept + step;
      const double above = value(model).item<double>();
      *element = kept - step;
      const double below = value(model).item<double>();
      *element = kept;
      INFO("element " << at);
      CHECK(gradient.const_data_ptr<double>()[at] ==
            Approx((above - below) / (2 * step)).margin(tolerance).epsilon(1e-4));
    }
  }
}

}  // namespace colonnade
