#include <catch2/catch.hpp>

#include "plugins/mask/budget.h"
#include "tests/support/finite_differences.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

const char* const masked_sites = "kind:linear,kind:conv1d";

Model masked(const Json& params = Json::object(), const std::string& dtype = "f64") {
  register_linked_plugin(colonnade_plugin);
  Json all = {{"sites", masked_sites}};
  all.update(params);
  return small::run_model("mask/mask", all, small::make(dtype)).mutable_copy();
}

StepInfo training(std::int64_t step) {
  return {true, step, 10, RandomStream(9).at(static_cast<std::uint64_t>(step))};
}

// Soft sparsity by a loop over all masked elements.
double soft_by_loop(const Model& model) {
  double kept = 0, all = 0;
  for (MaskAdapter* mask : masks_of(model)) {
    Tensor spread = at::sigmoid(mask->spread(mask->logits())).contiguous();
    Tensor active = mask->active_elements().contiguous();
    for (std::int64_t i = 0; i < spread.numel(); ++i) {
      if (!active.const_data_ptr<bool>()[i]) continue;
      kept += spread.const_data_ptr<double>()[i];
      ++all;
    }
  }
  return 1 - kept / all;
}

Json training_params(int steps) {
  return {{"steps", steps}, {"batch", 4}, {"length", 16}, {"learning_rate", 3e-3}, {"log_every", 10}};
}

Value train(const Model& model, const Json& params, std::uint64_t seed = 3) {
  load_plugin("train");
  return small::run("train/train", params, {{"model", model.to_field()}, {"data", to_field(small::text(4000))}}, seed);
}

}  // namespace

TEST_CASE("the penalty is the weight times the distance of soft sparsity from the target") {
  for (const char* granularity : {"element", "row", "column", "block"}) {
    Model model = masked({{"granularity", granularity},
                          {"block_rows", 3},
                          {"block_columns", 4},
                          {"penalty", "fixed"},
                          {"sparsity_weight", 0.7},
                          {"target_sparsity", 0.3},
                          {"sites", "*.x_proj#B,*.x_proj#C,*.conv1d"}});
    small::randomise_adapters(model, 3);
    const double expected = 0.7 * std::abs(soft_by_loop(model) - 0.3);
    CHECK(model.penalty(training(0)).item<double>() == Approx(expected).epsilon(1e-10));
    for (const SiteSpec& site : model.sites()) model.set_site_trainable(site.name, false);
    check_gradients(model, [](const Model& at) { return at.penalty(training(0)); });
  }
}

TEST_CASE("the multiplier rises by what is missing, and its state is stored") {
  Model model = masked({{"target_sparsity", 0.5}, {"multiplier_rate", 0.25}});
  small::randomise_adapters(model, 3);
  ParameterState optimizer;
  TrainingStep step{model, optimizer, training(0), {}};
  CHECK(model.penalty(training(0)).item<double>() == 0);
  const double missing = std::abs(soft_by_loop(model) - 0.5);
  model.hooks().front()->after_step(step);
  model.hooks().front()->after_step(step);
  CHECK(model.penalty(training(0)).item<double>() == Approx(0.25 * 2 * missing * missing));
  const auto metrics = model.hooks().front()->metrics();
  CHECK(metrics.at("multiplier") == Approx(0.5 * missing));
  CHECK(metrics.at("soft_sparsity") == Approx(soft_by_loop(model)));
  CHECK(metrics.at("sparsity") == Approx(0.5).margin(1e-3));
  const Model again = Model::from_field(model.to_field());
  CHECK(again.hooks().front()->metrics() == metrics);
}

TEST_CASE("training meets the target, soft by the multiplier and hard by the budget") {
  for (const double target : {0.3, 0.7}) {
    const Value value = train(masked({{"target_sparsity", target}}, "f32"), training_params(150));
    const Model model = Model::from_field(value.at("model"));
    const auto metrics = model.hooks().front()->metrics();
    CHECK(std::abs(metrics.at("sparsity") - target) < 1e-3);
    CHECK(std::abs(metrics.at("soft_sparsity") - target) < 0.1);
    CHECK(metrics.at("multiplier") > 0);
  }
}

TEST_CASE("a fixed tiny weight leaves logits where they began") {
  const Value value =
      train(masked({{"penalty", "fixed"}, {"threshold", "zero"}, {"logit_rate", 1.0}}, "f32"), training_params(60));
  const auto metrics = Model::from_field(value.at("model")).hooks().front()->metrics();
  CHECK(metrics.at("sparsity") < 0.05);
}

TEST_CASE("a training with masks that was killed ends like one that was not") {
  const Model start = masked({{"granularity", "block"}, {"noise", "gumbel"}}, "f32");
  load_plugin("train");
  std::vector<Value> checkpoints;
  RunRequest request;
  request.op = "train/train";
  request.params = training_params(12);
  request.inputs = {{"model", start.to_field()}, {"data", to_field(small::text(2000))}};
  request.checkpoint_due = [] { return true; };
  request.save_checkpoint = [&](const Value& state) {
    // As the store does: bytes, not shared memory.
    Value copy;
    for (const auto& [name, field] : state.fields) {
      Field stored = field;
      for (auto& [tensor, blob] : stored.tensors) blob = Blob::copy(blob.dtype(), blob.shape(), blob.data());
      copy.fields.emplace(name, std::move(stored));
    }
    checkpoints.push_back(std::move(copy));
  };
  const Value whole = run_op(request);
  REQUIRE(checkpoints.size() == 12);
  for (const std::size_t at : {0, 5, 10}) {
    RunRequest resumed = request;
    resumed.checkpoint_due = {};
    resumed.load_checkpoint = [&] { return std::optional<Value>(checkpoints[at]); };
    CHECK(run_op(resumed).at("model").content_hash() == whole.at("model").content_hash());
  }
}

}  // namespace colonnade
