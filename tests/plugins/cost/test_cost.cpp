#include <catch2/catch.hpp>
#include <cmath>

#include "colonnade/tensor/examples.h"
#include "tests/plugins/cost/cost_support.h"

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

// Elements of the small model, by hand.
constexpr double layer_elements = 6 + 16 * 6 + 16 + 8 * 3 + 8 + 8 * 8 + 6 * 8 + 6 + 8 * 3;
constexpr double all_elements = 11 * 6 + 2 * layer_elements + 6;
constexpr double double_bytes = 8;

Field scalar_field(double value) {
  return to_field(Scalar{value, 7, {}, "", Better::neither, {}});
}

Value efficiency(double accuracy, double flops, double parameters) {
  register_linked_plugin(colonnade_plugin);
  return small::run(
      "cost/efficiency", Json::object(),
      {{"accuracy", scalar_field(accuracy)}, {"flops", scalar_field(flops)}, {"parameters", scalar_field(parameters)}});
}

Value measured(const std::string& op, const Json& params, std::int64_t tokens, bool valid = false) {
  register_linked_plugin(colonnade_plugin);
  small::Inputs inputs = {{"model", small::make().to_field()}, {"data", to_field(small::text(tokens))}};
  if (valid) inputs.emplace_back("valid", to_field(small::text(50)));
  return small::run("cost/" + op, params, inputs);
}

}  // namespace

TEST_CASE("size counts elements, zeros and bytes") {
  const Value dense = cost::of("size", small::make());
  CHECK(cost::number(dense, "parameters") == all_elements);
  CHECK(cost::number(dense, "nonzero") == all_elements);
  CHECK(cost::number(dense, "trainable") == all_elements);
  CHECK(cost::number(dense, "trainable_percent") == 100);
  CHECK(cost::number(dense, "site_sparsity") == 0);
  CHECK(cost::number(dense, "model_sparsity") == 0);
  CHECK(cost::number(dense, "stored_bytes") == double_bytes * all_elements);
  const cost::Masked masked = cost::masked("layers.0.in_proj");
  const Value sparse = cost::of("size", masked.model);
  CHECK(cost::number(sparse, "parameters") == all_elements);
  CHECK(cost::number(sparse, "nonzero") == all_elements - masked.zeros);
  CHECK(cost::number(sparse, "trainable") == all_elements - masked.zeros);
  CHECK(cost::number(sparse, "site_sparsity") == masked.zeros / (16 * 6));
  CHECK(cost::number(sparse, "model_sparsity") == masked.zeros / all_elements);
  CHECK(cost::number(sparse, "stored_bytes") == double_bytes * all_elements + 16 * 6);
}

TEST_CASE("size tells what is frozen from what is trained, adapters included") {
  load_plugin("lora");
  const Value value =
      cost::of("size", small::run_model("lora/lora", {{"rank", 3}, {"sites", "layers.0.in_proj"}}, small::make()));
  const double added = 3 * (16 + 6);
  CHECK(cost::number(value, "parameters") == all_elements + added);
  CHECK(cost::number(value, "trainable") == added);
  CHECK(cost::number(value, "trainable_percent") == Approx(100 * added / (all_elements + added)));
  // B starts at zero.
  CHECK(cost::number(value, "nonzero") == all_elements + 3 * 6);
}

TEST_CASE("efficiency is accuracy for FLOPs and parameters") {
  const Value value = efficiency(0.5, 4, 1000);
  CHECK(cost::number(value, "efficiency") == Approx(0.5 / 4000).epsilon(1e-15));
  CHECK(cost::number(value, "log_efficiency") == Approx(std::log(0.5 / 4000)).epsilon(1e-15));
  CHECK(scalar_from(value.at("efficiency")).n == 7);
  for (const auto& [flops, parameters] : std::vector<std::pair<double, double>>{{0, 1}, {1, 0}, {-1, 1}}) {
    CHECK_THAT(small::error_of([&, f = flops, p = parameters] { efficiency(0.5, f, p); }),
               Contains("must be above zero"));
  }
  CHECK_THAT(small::error_of([] { efficiency(-0.1, 1, 1); }), Contains("'accuracy' (-0.1) must be a number from zero"));
  // Nothing right of seven.
  const Value none = efficiency(0, 4, 1000);
  CHECK(cost::number(none, "efficiency") == 0);
  CHECK(cost::number(none, "log_efficiency") == Approx(std::log(0.5 / 7 / 4000)).epsilon(1e-15));
}

TEST_CASE("latency times passes over the batch that was asked for") {
  const Value value = measured("latency", {{"batch", 2}, {"length", 8}, {"repeats", 5}}, 16);
  const double median = cost::number(value, "median");
  CHECK(median > 0);
  CHECK(cost::number(value, "p95") >= median);
  CHECK(cost::number(value, "tokens_per_second") == Approx(2 * 8 / (median / 1000)));
  CHECK(cost::number(value, "peak_memory") > double_bytes * all_elements);
  CHECK(scalar_from(value.at("median")).n == 5);
  CHECK_THAT(small::error_of([] {
               measured("latency", {{"batch", 2}, {"length", 8}}, 15);
             }),
             Contains("the input 'data' has 15 tokens; batch * length needs 16"));
}

TEST_CASE("latency times pictures with captions, and either by itself") {
  load_plugin("clip");
  const Json tiny = {{"vision_width", 8}, {"vision_layers", 1}, {"vision_heads", 2}, {"text_width", 8},
                     {"text_layers", 1},  {"text_heads", 2},    {"picture", 16},     {"patch", 8},
                     {"vocabulary", 20},  {"length", 6},        {"dimensions", 4}};
  const Field model = small::run("clip/clip", tiny, {}).at("model");
  Examples examples;
  examples.rows["pixels"] = at::arange(3 * 3 * 16 * 16).reshape({3, 3, 16, 16}).to(at::kByte);
  examples.rows["ids"] = at::full({3, 6}, 19, at::kInt);
  examples.scaling["pixels"] = {{0.5, 0.5, 0.5}, {0.3, 0.3, 0.3}};
  const auto timed = [&](const Json& params) {
    return small::run("cost/latency", params, {{"model", model}, {"data", to_field(examples)}});
  };
  for (const char* only : {"", "pixels", "ids"}) {
    Json params = {{"batch", 3}, {"repeats", 3}};
    if (*only != 0) params["only"] = only;
    const Value value = timed(params);
    CHECK(cost::number(value, "median") > 0);
    CHECK(cost::number(value, "rows_per_second") == Approx(3 / (cost::number(value, "median") / 1000)));
    CHECK(scalar_from(value.at("tokens_per_second")).n == 0);
  }
  CHECK_THAT(small::error_of([&] { timed({{"only", "picture"}}); }), Contains("'ids', 'pixels'"));
  CHECK_THAT(small::error_of([&] { timed({{"batch", 4}}); }), Contains("has 3 examples; batch needs 4"));
}

TEST_CASE("training_cost runs a few steps of a training and divides by what it did") {
  load_plugin("train");
  const Json training = {{"op", "train/train"},
                         {"params", {{"steps", 100000}, {"batch", 2}, {"length", 8}, {"evaluate_every", 2}}}};
  const Value value = measured("training_cost", {{"training", training}, {"steps", 4}}, 100, true);
  const Scalar seconds = scalar_from(value.at("seconds_per_step"));
  CHECK(seconds.value > 0);
  CHECK(seconds.n == 4);
  CHECK(cost::number(value, "tokens_per_second") * seconds.value == Approx(2 * 8));
  CHECK(cost::number(value, "peak_memory") > double_bytes * all_elements);
}

TEST_CASE("training_cost refuses what is no training") {
  load_plugin("mask");
  const Json recipe = {{"op", "mask/fixed"}, {"params", Json::object()}};
  CHECK_THAT(small::error_of([&] {
               measured("training_cost", {{"training", recipe}}, 100);
             }),
             Contains("the recipe 'training' is 'mask/fixed', which has no parameter 'steps'"));
}

}  // namespace colonnade
