// The model against Hugging Face's, on the fixtures of tests/oracles/mamba.
#include <ATen/Parallel.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "model_support.h"
#include "plugins/mamba/load.h"
#include "colonnade/tensor/safetensors.h"

namespace colonnade::mamba {
namespace {

struct Oracle {
  explicit Oracle(const std::string& name) : file(open_safetensors(fixture(name) + "/expected.safetensors")) {
    batch.tensors = {{"ids", read_tensor(file, "ids")}, {"targets", read_tensor(file, "targets")}};
  }
  /// A bound is met at the larger of it and twice the reference's own error.
  double allowed(double bound) const { return std::max(bound, 2 * std::stod(file.metadata.at("own_error"))); }

  SafetensorsFile file;
  Batch batch;
};

LoadRequest request_for(const std::string& folder, bool wide, bool fused) {
  LoadRequest request;
  request.weights = fixture(folder);
  request.dtype = wide ? DType::f64 : DType::f32;
  request.fused = fused;
  return request;
}

struct Case {
  const char* weights;
  const char* expected;
};

constexpr Case kCases[] = {
    {"plain", "plain"}, {"biased", "biased"}, {"published", "published"}, {"original", "published"}};

TEST_CASE("logits and loss are Hugging Face's, in both layouts and by both kernels") {
  for (const Case& each : kCases) {
    const Oracle oracle(each.expected);
    const Tensor logits = read_tensor(oracle.file, "logits");
    const Tensor loss = read_tensor(oracle.file, "loss");
    for (const bool fused : {true, false}) {
      CAPTURE(each.weights, fused);
      const Model single = load_model(request_for(each.weights, false, fused));
      CHECK(relative_error(single.forward(oracle.batch), logits) <= oracle.allowed(1e-5));
      CHECK(relative_error(single.loss(oracle.batch), loss) <= oracle.allowed(1e-5));
      // The fixture's logits are rounded to float32, its loss is not.
      const Model wide = load_model(request_for(each.weights, true, fused));
      CHECK(relative_error(wide.forward(oracle.batch), logits) < 1e-7);
      CHECK(relative_error(wide.loss(oracle.batch), loss) < 1e-12);
    }
  }
}

TEST_CASE("gradients are Hugging Face's") {
  const Oracle oracle("biased");
  for (const bool wide : {true, false}) {
    Model model = load_model(request_for("biased", wide, true));
    int compared = 0;
    for (const auto& [parameter, gradient] : loss_gradients(model, oracle.batch)) {
      const std::string name = "gradient:" + model.site(parameter.site).tensor_name;
      if (!oracle.file.tensors.contains(name)) continue;
      CAPTURE(name, wide);
      CHECK(relative_error(gradient, read_tensor(oracle.file, name)) < (wide ? 1e-6 : 1e-4));
      ++compared;
    }
    constexpr int kSitesOutsideLayers = 2, kSitesOfALayer = 12;
    CHECK(compared == kSitesOutsideLayers + kSitesOfALayer);
  }
}

TEST_CASE("one and two threads give the same logits and gradients, bit for bit") {
  const Oracle oracle("biased");
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    Model model = load_model(request_for("biased", false, true));
    std::vector<Tensor> all = {model.forward(oracle.batch)};
    for (const NamedGradient& each : loss_gradients(model, oracle.batch)) all.push_back(each.gradient);
    return all;
  };
  const auto one = run(1);
  const auto two = run(2);
  at::set_num_threads(before);
  for (size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], two[i]));
}

}  // namespace
}  // namespace colonnade::mamba
