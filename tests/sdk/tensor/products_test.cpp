// What the runner computes in ways of its own: products of few rows, half-precision weights, the head's loss, layers
// that are computed again for their gradients.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>

#include "colonnade/tensor/batch.h"
#include "sdk/tensor/src/head_loss.h"
#include "sdk/tensor/src/product.h"
#include "sdk/tensor/src/thin_product.h"
#include "tests/sdk/tensor/fixtures.h"

namespace colonnade {

namespace {

Tensor normal(const char* name, at::IntArrayRef shape, at::ScalarType type = at::kDouble) {
  return random_normal(RandomStream(11).at(name), shape, type);
}

Tensor row(const std::vector<std::int64_t>& ids) {
  return at::tensor(ids, at::TensorOptions().dtype(at::kLong)).unsqueeze(0);
}

double relative_error(const Tensor& a, const Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).abs().max() / b.to(at::kDouble).abs().max()).item<double>();
}

}  // namespace

TEST_CASE("few rows times a matrix are what they are in float64, for every type of weight and any size") {
  constexpr double single = 1e-6;  // some roundings of fp32
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    at::set_num_threads(1);
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 40}) {
      for (const auto& [out, in] : {std::pair{1, 1}, {3, 7}, {10, 8}, {67, 129}, {300, 768}}) {
        CAPTURE(type, rows, out, in);
        const Tensor x = normal("x", {rows, in}, at::kFloat), bias = normal("b", {out}, at::kFloat);
        const Tensor weight = normal("w", {out, in}, at::kFloat).to(type);
        const Tensor want = at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble));
        const Tensor got = product(x, weight, bias);
        CHECK(got.scalar_type() == at::kFloat);
        CHECK(relative_error(got, want) < single);
        CHECK(relative_error(product(x, weight, {}), want - bias) < 4 * single);
      }
    }
  }
}

TEST_CASE("a product of few rows is the same bits for one thread and two, and leaves gradients to LibTorch") {
  const Tensor x = normal("x", {2, 768}, at::kFloat), weight = normal("w", {1003, 768}, at::kFloat);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor one = product(x, weight, {});
  at::set_num_threads(2);
  const Tensor two = product(x, weight, {});
  at::set_num_threads(before);
  CHECK(at::equal(one, two));
  // A row's result depends on no other row.
  CHECK(at::equal(product(x.narrow(0, 1, 1), weight, {})[0], two[1]));
  const Tensor leaf = weight.clone().requires_grad_();
  const at::AutoGradMode recording(true);
  CHECK_FALSE(is_thin_product(x, leaf, {}));
  CHECK(product(x, leaf, {}).requires_grad());
}

TEST_CASE("half-precision weights are widened in parts, to what widening them whole gives") {
  const Tensor x = normal("x", {9, 512}, at::kFloat), bias = normal("b", {9000}, at::kFloat);
  const Tensor weight = normal("w", {9000, 512}, at::kFloat).to(at::kBFloat16);
  CHECK(relative_error(product(x, weight, bias), at::linear(x, weight.to(at::kFloat), bias)) < 1e-6);
}

TEST_CASE("the head's loss and its gradients are LibTorch's cross entropy of all logits") {
  // The second has rows for more than one part.
  for (const auto& [rows, classes] : {std::pair{7, 5}, {130, 70001}}) {
    const Tensor targets = (random_uniform(RandomStream(2), {rows}, at::kDouble) * classes).floor().to(at::kLong);
    targets[1] = not_scored;
    const at::AutoGradMode recording(true);
    const Tensor x = normal("x", {rows, 3}).requires_grad_(), weight = normal("w", {classes, 3}).requires_grad_();
    const Tensor want = at::cross_entropy_loss(at::linear(x, weight), targets, {}, at::Reduction::Mean, not_scored);
    const Tensor got = head_cross_entropy(x, weight, targets);
    CHECK(got.item<double>() == Approx(want.item<double>()).epsilon(1e-13));
    const auto wanted = torch::autograd::grad({want * 3}, {x, weight});
    const auto gradients = torch::autograd::grad({got * 3}, {x, weight});
    for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(relative_error(gradients[i], wanted[i]) < 1e-11);
    const auto of_x = torch::autograd::grad({head_cross_entropy(x, weight.detach(), targets)}, {x});
    CHECK(relative_error(of_x[0] * 3, wanted[0]) < 1e-11);
    const at::NoGradGuard off;
    CHECK(head_cross_entropy(x, weight, targets).item<double>() == got.item<double>());
  }
  CHECK_THROWS_WITH(head_cross_entropy(normal("x", {3, 2}), normal("w", {4, 2}), at::zeros({2}, at::kLong)),
                    "the batch has 2 targets for 3 tokens");
}

namespace {

/// Two layers of one linear each behind the same table, and a count of how often a layer was computed.
class Layered final : public Architecture {
 public:
  static int& computed() {
    static int count = 0;
    return count;
  }
  std::string type() const override { return "layered/model"; }
  std::vector<SiteSpec> sites(const Json&) const override {
    std::vector<SiteSpec> sites(3);
    for (std::size_t i = 0; i < 2; ++i) {
      sites[i].name = sites[i].tensor_name = "layers." + std::to_string(i) + ".square";
      sites[i].shape = {5, 5};
    }
    sites[2].name = sites[2].tensor_name = "table";
    sites[2].kind = SiteKind::embedding;
    sites[2].roles = {"embedding", "head"};
    sites[2].shape = {9, 5};
    return sites;
  }
  std::vector<Symmetry> symmetries(const Json&) const override { return {}; }
  Tensor body(SiteRunner& run, const Tensor& ids) const {
    Tensor x = run.embedding("table", ids);
    for (const char* layer : {"layers.0.", "layers.1."}) {
      x = run.recomputed(layer, x, [layer](SiteRunner& again, const Tensor& given) {
        ++computed();
        return given + at::tanh(again.linear(std::string(layer) + "square", given));
      });
    }
    return x;
  }
  Tensor forward(SiteRunner& run, const Json&, const Batch& batch) const override {
    return run.linear_transposed_embedding("table", body(run, batch.at("ids")));
  }
  Tensor loss(SiteRunner& run, const Json&, const Batch& batch) const override {
    return run.head_loss("table", body(run, batch.at("ids")), batch.at("targets"));
  }
  std::vector<FixedCost> fixed_costs(const Json&, std::int64_t) const override { return {}; }
};

/// The loss, its products in bfloat16 by LibTorch's autocast if so wanted.
Tensor loss_of(const Model& model, const Batch& batch, const StepInfo& info, bool lowered) {
  if (!lowered) return model.loss(batch, info);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::increment_nesting();
  const Tensor loss = model.loss(batch, info);
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  return loss;
}

/// Gradients of all parameters, with and without layers kept.
std::vector<Tensor> gradients_of(Model& model, const Batch& batch, bool recompute, bool lowered = false) {
  const at::AutoGradMode recording(true);
  std::vector<Tensor> leaves;
  for (const Parameter& parameter : model.parameters()) {
    *parameter.tensor = parameter.tensor->detach().requires_grad_();
    leaves.push_back(*parameter.tensor);
  }
  StepInfo info;
  info.training = true;
  info.recompute = recompute;
  Layered::computed() = 0;
  auto gradients = torch::autograd::grad({loss_of(model, batch, info, lowered)}, leaves);
  for (const Parameter& parameter : model.parameters()) *parameter.tensor = parameter.tensor->detach();
  return gradients;
}

}  // namespace

TEST_CASE("layers are computed again for gradients where the step says so, to the same bits") {
  Model model(std::make_shared<const Layered>(), {{"dtype", "f32"}});
  for (const SiteSpec& site : model.sites()) {
    SiteWeight weight;
    weight.sparse = normal(site.name.c_str(), site.shape, at::kFloat);
    model.set_weight(site.name, std::move(weight));
  }
  for (const char* kind : {"decide", "branch", "input"}) {
    model.attach("layers.1.square", laws::make_law(kind, model.site("layers.1.square"), at::kFloat, 3));
  }
  const Batch batch{{{"ids", row({1, 4, 4, 8})}, {"targets", row({4, 4, 8, 0})}}};
  for (const bool table : {true, false}) {
    // Without the table the first layer is given nothing that wants a gradient.
    model.set_site_trainable("table", table);
    const auto kept = gradients_of(model, batch, false);
    CHECK(Layered::computed() == 2);
    const auto again = gradients_of(model, batch, true);
    CHECK(Layered::computed() == 4);
    REQUIRE(kept.size() == again.size());
    for (std::size_t i = 0; i < kept.size(); ++i) {
      CHECK_FALSE(kept[i].is_sparse());
      CHECK(kept[i].abs().max().item<float>() > 0);
      CHECK(at::equal(kept[i], again[i]));
    }
  }
  // In the precision of the first time, though gradients are taken where no lower one is asked for.
  model.set_site_trainable("table", true);
  const auto full = gradients_of(model, batch, false);
  const auto lowered = gradients_of(model, batch, false, true);
  const auto again = gradients_of(model, batch, true, true);
  for (std::size_t i = 0; i < full.size(); ++i) {
    CHECK_FALSE(at::equal(lowered[i], full[i]));
    CHECK(at::equal(lowered[i], again[i]));
  }
  // Frozen layers are not computed again but for what comes before them.
  model.set_sites_trainable(false);
  model.set_adapters_trainable(false);
  model.set_site_trainable("layers.1.square", true);
  gradients_of(model, batch, true);
  CHECK(Layered::computed() == 3);
}

TEST_CASE("a model of half-precision weights computes in fp32 and can be read only") {
  const auto architecture = std::make_shared<const Layered>();
  Model narrow(architecture, {{"dtype", "bf16"}}), wide(architecture, {{"dtype", "f32"}});
  for (const SiteSpec& site : narrow.sites()) {
    SiteWeight weight;
    weight.sparse = normal(site.name.c_str(), site.shape, at::kFloat).to(at::kBFloat16);
    narrow.set_weight(site.name, weight);
    weight.sparse = weight.sparse.to(at::kFloat);
    wide.set_weight(site.name, weight);
  }
  CHECK(narrow.dtype() == at::kFloat);
  CHECK(narrow.weight_dtype() == at::kBFloat16);
  const Batch batch{{{"ids", row({1, 4, 4, 8})}}};
  CHECK(relative_error(narrow.forward(batch), wide.forward(batch)) < 1e-6);
  CHECK_THROWS_WITH(narrow.mutable_copy(), Catch::Contains("bf16") && Catch::Contains("dtype = \"f32\""));
}

}  // namespace colonnade
