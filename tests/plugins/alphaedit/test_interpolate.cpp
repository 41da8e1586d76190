#include <catch2/catch.hpp>

#include "alphaedit_support.h"

namespace colonnade::alphaedit {

namespace {

using Catch::Matchers::Contains;

Value interpolate(const Model& model, const std::vector<Model>& tasks, Json params, bool data = false) {
  small::Inputs inputs = {{"model", model.to_field()}};
  for (const Model& task : tasks) inputs.emplace_back("tasks", task.to_field());
  if (data) inputs.emplace_back("data", to_field(small::text(600)));
  params.update({{"samples", 8}, {"length", 32}});
  return run("interpolate", std::move(params), inputs);
}

Model interpolated(const Model& model, const std::vector<Model>& tasks, Json params) {
  return Model::from_field(interpolate(model, tasks, std::move(params)).at("model"));
}

Tensor weight(const Model& model, const std::string& site) {
  return effective_weight(model.weight(site));
}

}  // namespace

TEST_CASE("task vectors add up, by task and by layer") {
  const Model start = small::make("f64", 1), one = small::make("f64", 2), two = small::make("f64", 3);
  const Model all = interpolated(start, {one}, Json::object());
  const Model mixed = interpolated(start, {one, two}, {{"alphas", {0.25, 0.5}}});
  const Model layered = interpolated(start, {one}, {{"by_layer", {0.0, 0.5}}, {"outside", 0.25}});
  for (const SiteSpec& site : start.sites()) {
    const Tensor w = weight(start, site.name), a = weight(one, site.name) - w, b = weight(two, site.name) - w;
    CHECK(small::largest_difference(weight(all, site.name), w + a) < 1e-14);
    CHECK(small::largest_difference(weight(mixed, site.name), w + 0.25 * a + 0.5 * b) < 1e-14);
    const double share = site.layer == 0 ? 0 : site.layer == 1 ? 0.5 : 0.25;
    CHECK(small::largest_difference(weight(layered, site.name), w + share * a) < 1e-14);
  }
  CHECK(small::largest_difference(weight(interpolated(start, {one}, {{"alphas", {0.0}}}), "norm_f"),
                                  weight(start, "norm_f")) == 0);
}

TEST_CASE("a mask of the start keeps its zeros, and the loss is in the record") {
  Model start = small::make("f64", 1).mutable_copy();
  apply_mask(start.writable("layers.0.in_proj"),
             random_uniform(RandomStream(1), {2 * small::channels, small::width}, at::kDouble) < 0.5);
  const Value value = interpolate(start, {small::make("f64", 2)}, {{"sites", "layers.0.in_proj"}});
  const Model result = Model::from_field(value.at("model"));
  const SiteWeight& after = result.weight("layers.0.in_proj");
  CHECK(!at::logical_and(after.sparse != 0, after.mask.logical_not()).any().item<bool>());
  CHECK(cell(value, "lost_norm").get<double>() > 0);
}

TEST_CASE("adaptive alphas follow the loss by the rule, take turns, and end no worse than the start") {
  const Model start = small::make("f64", 1);
  Model near = start.mutable_copy();
  for (const SiteSpec& site : start.sites()) {
    Tensor& tensor = near.writable(site.name).sparse;
    tensor.add_(normal(site.shape, 5), 0.3);
  }
  const Value value = interpolate(start, {near, small::make("f64", 2)},
                                  {{"adaptive", true}, {"steps", 9}, {"alphas", {0.8, 0.4}}}, true);
  const Table path = table_from(value.at("path"));
  REQUIRE(path.rows() == 10);
  const auto at = [&](const std::string& column, std::size_t row) {
    return path.column(column).cells.at(row).get<double>();
  };
  CHECK(at("alpha_1", 1) == 0.8);
  CHECK(at("alpha_2", 1) == 0.4);
  double least = 1e300;
  std::size_t best = 0;
  for (std::size_t row = 0; row < 10; ++row) {
    if (at("loss", row) < least) {
      least = at("loss", row);
      best = row;
    }
    if (row < 1 || row == 9) continue;
    const std::string turn = "alpha_" + std::to_string((row - 1) % 2 + 1),
                      other = turn == "alpha_1" ? "alpha_2" : "alpha_1";
    const double factor = at("loss", row) > at("loss", row - 1) ? 0.9 : 1.1;
    CHECK(at(turn, row + 1) == Approx(std::min(1.0, at(turn, row) * factor)));
    CHECK(at(other, row + 1) == at(other, row));
  }
  const Table alphas = table_from(value.at("alphas"));
  CHECK(alphas.column("alpha").cells.at(0).get<double>() == at("alpha_1", best));
  CHECK(alphas.column("alpha").cells.at(1).get<double>() == at("alpha_2", best));
}

TEST_CASE("mistakes are told") {
  const Model start = small::make("f64", 1), task = small::make("f64", 2);
  const auto error = [&](const std::vector<Model>& tasks, Json params) {
    return small::error_of([&] { interpolate(start, tasks, std::move(params)); });
  };
  CHECK_THAT(error({task}, {{"alphas", {0.1, 0.2}}}), Contains("alphas has 2 numbers for 1 tasks"));
  CHECK_THAT(error({task}, {{"by_layer", {0.1}}}), Contains("by_layer has 1 numbers; the model has 2 layers"));
  CHECK_THAT(error({small::make("f32", 2)}, Json::object()), Contains("task 1 is a fixture/small"));
  CHECK_THAT(error({task}, {{"adaptive", true}}), Contains("input `data`, which is missing"));
}

}  // namespace colonnade::alphaedit
