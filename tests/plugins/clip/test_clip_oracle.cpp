// The model against Hugging Face's, on the fixtures of tests/oracles/clip.
#include <ATen/Parallel.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "colonnade/tensor/safetensors.h"
#include "model_support.h"
#include "plugins/clip/load.h"

namespace colonnade::clip {
namespace {

struct Oracle {
  explicit Oracle(const std::string& name) : file(open_safetensors(fixture(name) + "/expected.safetensors")) {
    batch.tensors = {{"ids", read("ids")}, {"pixels", read("pixels")}};
  }
  Tensor read(const std::string& name) const { return read_tensor(file, name); }
  /// A bound is met at the larger of it and twice the reference's own error.
  double allowed(double bound) const { return std::max(bound, 2 * std::stod(file.metadata.at("own_error"))); }

  SafetensorsFile file;
  Batch batch;
};

LoadRequest request_for(const std::string& folder, bool wide) {
  LoadRequest request;
  request.weights = fixture(folder);
  request.wide = wide;
  return request;
}

Tensor alone(const Model& model, const Oracle& oracle, const char* name) {
  return model.forward({{{name, oracle.batch.at(name)}}});
}

TEST_CASE("embeddings, logits and loss are Hugging Face's, in both layouts") {
  for (const char* name : {"square", "dual", "original"}) {
    const Oracle oracle(name);
    for (const bool wide : {true, false}) {
      CAPTURE(name, wide);
      const Model model = load_model(request_for(name, wide));
      CHECK(model.dtype() == (wide ? at::kDouble : at::kFloat));
      const double bound = wide ? 1e-12 : oracle.allowed(1e-5);
      CHECK(relative_error(alone(model, oracle, "pixels"), oracle.read("pictures")) <= bound);
      CHECK(relative_error(alone(model, oracle, "ids"), oracle.read("texts")) <= bound);
      CHECK(relative_error(model.forward(oracle.batch), oracle.read("logits")) <= bound);
      CHECK(relative_error(model.loss(oracle.batch), oracle.read("loss")) <= bound);
    }
  }
}

TEST_CASE("gradients are Hugging Face's") {
  const Oracle oracle("dual");
  for (const bool wide : {true, false}) {
    Model model = load_model(request_for("dual", wide));
    int compared = 0;
    for (const auto& [parameter, gradient] : loss_gradients(model, oracle.batch)) {
      const SiteSpec& site = model.site(parameter.site);
      const std::string name = "gradient:" + site.tensor_name;
      if (!oracle.file.tensors.contains(name)) continue;
      CAPTURE(name, wide);
      ++compared;
      const Tensor expected = oracle.read(name).reshape(site.shape);
      // Keys' biases shift all of a row's scores alike: their gradient is zero but for rounding.
      if (name.ends_with("k_proj.bias")) {
        CHECK(gradient.abs().max().item<double>() < 1e-6);
      } else {
        CHECK(relative_error(gradient, expected) < (wide ? 1e-6 : 1e-4));
      }
    }
    constexpr int kOutsideLayers = 14, kOfALayer = 16;
    CHECK(compared == kOutsideLayers + 2 * kOfALayer);
  }
}

TEST_CASE("one and two threads give the same logits and gradients but for the order of sums") {
  const Oracle oracle("dual");
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    Model model = load_model(request_for("dual", true));
    std::vector<Tensor> all = {model.forward(oracle.batch)};
    for (const NamedGradient& each : loss_gradients(model, oracle.batch)) all.push_back(each.gradient);
    return all;
  };
  const auto one = run(1);
  const auto two = run(2);
  at::set_num_threads(before);
  for (size_t i = 0; i < one.size(); ++i) CHECK((one[i] - two[i]).abs().max().item<double>() < 1e-13);
}

}  // namespace
}  // namespace colonnade::clip
