#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <regex>

#include "plugins/train/trainer.h"
#include "tests/plugins/train/train_support.h"

namespace colonnade {

namespace {

using Catch::Matchers::Contains;
using training::train;
using training::Trained;

// A model with what a training must leave alone: masked elements, frozen sites, a reference.
Model mixed() {
  Model model = small::make();
  SiteWeight& masked = model.writable("layers.0.in_proj");
  apply_mask(masked, random_uniform(RandomStream(8), masked.sparse.sizes()) < 0.6);
  SiteWeight& referenced = model.writable("layers.1.x_proj");
  referenced.reference = random_normal(RandomStream(9), referenced.sparse.sizes(), at::kDouble) * 0.3;
  for (const char* frozen : {"layers.0.out_proj", "layers.1.norm", "layers.1.in_proj.bias"})
    model.set_site_trainable(frozen, false);
  return model;
}

// The training again in the plainest form: one window at a time, AdamW in tensor ops.
Model plain_training(Model model, const Json& params, const Tokens& text, std::uint64_t seed) {
  const auto number = [&](const char* name) { return params.at(name).get<double>(); };
  const auto count = [&](const char* name) { return params.at(name).get<std::int64_t>(); };
  const RandomStream draws = training::random_of(seed).at("windows");
  std::map<std::string, Tensor> mean, square;
  for (std::int64_t step = 0; step < count("steps"); ++step) {
    auto parameters = model.parameters();
    std::vector<Tensor> leaves, gradients;
    for (Parameter& parameter : parameters) {
      *parameter.tensor = parameter.tensor->detach().clone().requires_grad_(true);
      leaves.push_back(*parameter.tensor);
    }
    Tensor total;
    for (std::int64_t row = 0; row < count("batch"); ++row) {
      const auto start = draws.below(static_cast<std::uint64_t>(step * count("batch") + row),
                                     static_cast<std::uint64_t>(text.count() - count("length")));
      Tensor loss = model.loss(window_batch(text, {static_cast<std::int64_t>(start)}, count("length")));
      total = total.defined() ? total + loss : loss;
    }
    for (const Tensor& gradient : torch::autograd::grad({total / count("batch")}, leaves))
      gradients.push_back(gradient);
    at::NoGradGuard guard;
    double squares = 0;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (parameters[i].mask.defined()) gradients[i] = gradients[i] * parameters[i].mask;
      squares += gradients[i].square().sum().item<double>();
    }
    const double shrink = std::min(1.0, number("clip") / std::sqrt(squares));
    const double progress = static_cast<double>(step) / (number("steps") - 1);
    const double rate = number("learning_rate") * (0.1 + 0.9 * (1 + std::cos(std::acos(-1.0) * progress)) / 2);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      const Parameter& parameter = parameters[i];
      const Tensor g = gradients[i] * shrink;
      Tensor& m = mean[parameter.name];
      Tensor& v = square[parameter.name];
      m = m.defined() ? m * 0.9 + g * 0.1 : g * 0.1;
      v = v.defined() ? v * 0.999 + g * g * 0.001 : g * g * 0.001;
      const Tensor direction =
          (m / (1 - std::pow(0.9, step + 1))) / ((v / (1 - std::pow(0.999, step + 1))).sqrt() + 1e-8);
      const bool matrix = model.site(parameter.site).kind != SiteKind::vector;
      *parameter.tensor = leaves[i].detach() * (matrix ? 1 - rate * number("weight_decay") : 1) - direction * rate;
    }
  }
  return model;
}

}  // namespace

TEST_CASE("a training is the plain loop over windows, gradients, clipping and AdamW") {
  const Json params = {{"steps", 6},          {"batch", 3}, {"length", 7}, {"learning_rate", 1e-2},
                       {"weight_decay", 0.1}, {"clip", 0.5}};
  const Model start = mixed();
  const Tokens text = small::text(400);
  const Trained trained = train(start, params, {text, {}}, 5);
  const Model expected = plain_training(start.mutable_copy(), params, text, 5);
  CHECK(training::norm_of_change(start, expected) > 0.1);
  for (const SiteSpec& site : start.sites()) {
    INFO(site.name);
    CHECK(small::relative_error(trained.model().weight(site.name).sparse, expected.weight(site.name).sparse) < 1e-11);
  }
}

TEST_CASE("frozen sites and references keep their bits, masked elements stay zero, all else learns") {
  const Model start = mixed();
  const Model model = train(start, {{"steps", 8}}).model();
  for (const SiteSpec& site : start.sites()) {
    INFO(site.name);
    CHECK(at::equal(model.weight(site.name).sparse, start.weight(site.name).sparse) != start.site_trainable(site.name));
  }
  CHECK(at::equal(model.weight("layers.1.x_proj").reference, start.weight("layers.1.x_proj").reference));
  const SiteWeight& masked = model.weight("layers.0.in_proj");
  REQUIRE(at::equal(masked.mask, start.weight("layers.0.in_proj").mask));
  CHECK(at::equal(masked.sparse != 0, masked.mask));
  const Trained text_model = train(start, {{"steps", 60}, {"batch", 8}}, {small::text(2000), small::text(500, 2)});
  CHECK(text_model.summary().at("best_valid_nats").get<double>() <
        evaluate_nats(start, small::text(500, 2), 7, 32, 8) - 0.1);
}

TEST_CASE("accumulating k batches of b is a batch of k b") {
  const Model start = small::make();
  const Trained whole = train(start, {{"batch", 6}});
  const Trained parts = train(start, {{"batch", 2}, {"accumulation", 3}});
  for (const SiteSpec& site : start.sites()) {
    INFO(site.name);
    CHECK(small::relative_error(parts.model().weight(site.name).sparse, whole.model().weight(site.name).sparse) <
          1e-12);
  }
  CHECK(parts.summary().at("tokens") == whole.summary().at("tokens"));
  CHECK(whole.summary().at("tokens") == 5 * 6 * 7);
}

TEST_CASE("the same seed gives the same bits and the same windows to every arm, another seed others") {
  CHECK(training::hash_of(train(small::make(), {{"steps", 3}}).value) ==
        training::hash_of(train(small::make(), {{"steps", 3}}).value));
  const auto windows = [](double learning_rate, std::uint64_t seed) {
    training::Bigram::seen().clear();
    train(training::bigram(), {{"learning_rate", learning_rate}}, {}, seed);
    return at::stack(training::Bigram::seen());
  };
  const Tensor first = windows(1e-2, 0);
  REQUIRE(first.sizes() == at::IntArrayRef({5, 2, 7}));
  CHECK(at::equal(windows(1e-4, 0), first));
  CHECK(!at::equal(windows(1e-2, 1), first));
  CHECK(!at::equal(first[0], first[1]));
}

TEST_CASE("clipping limits the norm of the whole gradient and leaves smaller ones alone") {
  // With so large an epsilon the first step is lr / epsilon times the gradient.
  const Json plain = {{"steps", 1}, {"epsilon", 1e6}, {"learning_rate", 1.0}, {"weight_decay", 0.0}};
  Json clipped = plain;
  clipped["clip"] = 0.01;
  const Model start = small::make();
  CHECK(training::norm_of_change(start, train(start, clipped).model()) == Approx(0.01 / 1e6).epsilon(1e-5));
  const double norm = training::norm_of_change(start, train(start, plain).model()) * 1e6;
  REQUIRE(norm > 0.01);
  clipped["clip"] = norm * 1.1;
  CHECK(training::hash_of(train(start, clipped).value) == training::hash_of(train(start, plain).value));
}

TEST_CASE("vanished gradients are rescaled when asked for, and counted") {
  const Model certain = training::bigram(60);
  const Json plain = {{"steps", 1}, {"epsilon", 1e6}, {"learning_rate", 1.0}, {"weight_decay", 0.0}};
  Json rescued = plain;
  rescued["rescue"] = 0.25;
  const training::Texts texts{training::cycle(300), {}};
  const Trained with = train(certain, rescued, texts), without = train(certain, plain, texts);
  CHECK(with.summary().at("rescued_gradients") == 1);
  CHECK(training::norm_of_change(certain, with.model()) == Approx(0.25 / 1e6).epsilon(1e-4));
  CHECK(without.summary().at("rescued_gradients") == 0);
  CHECK(training::norm_of_change(certain, without.model()) < 1e-7 / 1e6);
  // What takes part in nothing has no gradient to rescue.
  CHECK(at::equal(with.model().weight("unused").sparse, certain.weight("unused").sparse));
  CHECK(train(training::bigram(), rescued, texts).summary().at("rescued_gradients") == 0);
}

TEST_CASE("products in bf16 want a card") {
  CHECK_THROWS_WITH(train(small::make(), {{"steps", 1}, {"precision", "bf16"}}, {small::text(400), {}}),
                    Catch::Contains("precision = 'bf16' needs a card (device = 'cuda'); allowed on the CPU: 'f32'"));
}

TEST_CASE("a training ends after so many evaluations in a row without a better one") {
  const Json params = {
      {"steps", 200}, {"learning_rate", 0.3}, {"evaluate_every", 2}, {"early_stop", 3}, {"log_every", 1000}};
  // A text to learn by heart, and one that follows no rule of it.
  const Trained trained = train(training::bigram(), params, {training::cycle(60), small::text(300, 9)});
  const Table curve = trained.curve();
  double best = INFINITY;
  std::int64_t best_step = 0, without = 0;
  for (std::size_t row = 0; row < curve.rows(); ++row) {
    const Json& valid = curve.column("valid_nats").cells[row];
    if (valid.is_null()) continue;
    REQUIRE(without < 3);
    ++without;
    if (valid.get<double>() >= best) continue;
    best = valid.get<double>();
    best_step = curve.column("step").cells[row].get<std::int64_t>();
    without = 0;
  }
  CHECK(without == 3);
  CHECK(trained.summary().at("stopped_early") == true);
  CHECK(trained.summary().at("steps") == best_step + 3 * 2);
  CHECK(trained.summary().at("best_step") == best_step);
  CHECK(trained.summary().at("best_valid_nats").get<double>() == best);
}

TEST_CASE("the curve has the first step, every so many, evaluations and the last; the log says the same") {
  const Trained trained = train(small::make(), {{"steps", 11}, {"log_every", 4}, {"evaluate_every", 5}},
                                {small::text(400), small::text(200, 2)});
  const Table curve = trained.curve();
  CHECK(curve.column("step").cells == Json({1, 4, 5, 8, 10, 11}));
  const Json& valid = curve.column("valid_nats").cells;
  for (const std::size_t row : {0, 1, 3}) CHECK(valid[row].is_null());
  CHECK(valid[5].get<double>() == evaluate_nats(trained.model(), small::text(200, 2), 7, 32, 2));
  REQUIRE(trained.log.size() == curve.rows());
  const std::regex line(
      R"(Step (\d+) \| Loss: \d+\.\d{4} \(CE: \d+\.\d{4}, Reg: 0\.000000\) \| LR: 0\.\d{6} \| Trainable: 100%)");
  for (const std::string& logged : trained.log) CHECK(std::regex_match(logged, line));
  CHECK_THAT(trained.log[0], Catch::StartsWith("Step 1 | Loss: ") && Contains(" | LR: 0.010000"));
  CHECK(scalar_from(trained.value.at("trainable_percent")).value == 100);
}

TEST_CASE("with 'valid' alone the trained model is evaluated once, at its end") {
  const Trained trained = train(small::make(), {{"steps", 3}}, {small::text(400), small::text(200, 2)});
  CHECK(trained.summary().at("best_valid_nats").get<double>() ==
        evaluate_nats(trained.model(), small::text(200, 2), 7, 32, 2));
  CHECK(trained.summary().at("best_step") == 3);
}

TEST_CASE("mistakes and divergence are named") {
  const auto error = [](const Model& model, const Json& params, const training::Texts& texts = {}) {
    return small::error_of([&] { train(model, params, texts); });
  };
  CHECK_THAT(error(small::make(), {{"evaluate_every", 1}}),
             Contains("op train/train: evaluate_every needs the input 'valid'"));
  CHECK_THAT(error(small::make(), {{"early_stop", 1}}, {small::text(400), small::text(50)}),
             Contains("early_stop needs evaluate_every"));
  CHECK_THAT(error(small::make(), {{"length", 30}}, {small::text(30), {}}),
             Contains("the input 'data' has 30 tokens; windows of length 30 need at least 31"));
  CHECK_THAT(error(small::make(), {{"length", 30}}, {small::text(31), small::text(20)}),
             Contains("the input 'valid' has 20 tokens"));
  Model frozen = small::make();
  for (const SiteSpec& site : frozen.sites()) frozen.set_site_trainable(site.name, false);
  CHECK_THAT(error(frozen, Json::object()), Contains("nothing of this model is trainable"));
  Model idle = training::bigram();
  idle.set_site_trainable("table", false);
  CHECK_THAT(error(idle, Json::object()), Contains("the loss depends on nothing of this model that is trainable"));
  Model broken = small::make("f32");
  broken.writable("norm_f").sparse.fill_(3e38);
  CHECK_THAT(error(broken, Json::object()), Contains("the loss is not finite at step 1 of 5"));
  CHECK_THAT(error(small::make("f32"), {{"learning_rate", 1e30}, {"warmup", 0}}),
             Contains("is not finite at step 2 of 5"));
}

TEST_CASE("the shortest text holds one window") {
  training::Bigram::seen().clear();
  train(training::bigram(), {{"steps", 1}, {"batch", 3}, {"length", 9}}, {training::cycle(10), {}});
  REQUIRE(training::Bigram::seen().size() == 1);
  CHECK(at::equal(training::Bigram::seen()[0], at::arange(9, at::kLong).repeat({3, 1})));
}

}  // namespace colonnade
