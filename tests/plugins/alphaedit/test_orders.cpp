#include <catch2/catch.hpp>

#include <algorithm>

#include "stages.h"

// The zeros of every mask survive every order of stages that claim to keep them.
namespace colonnade::alphaedit {

namespace {

using stages::Around;

struct Walk {
  const Around& around;
  std::vector<std::string> names;
  int visited = 0, broken = 0, lost_mask = 0;

  // Every order of what is left, sharing what they have in common.
  void go_on(const Model& model, const std::vector<std::string>& left, const std::string& path) {
    for (const std::string& stage : left) {
      const Model next = Model::from_field(stages::run_stage(stage, model, around).at("model"));
      ++visited;
      for (const std::string& name : names) {
        const SiteWeight &before = model.weight(name), &after = next.weight(name);
        if (!before.has_mask()) continue;
        if (!after.has_mask()) {
          ++lost_mask;
          continue;
        }
        const Tensor dropped = before.mask.logical_not();
        const bool filled = at::logical_and(after.sparse != 0, dropped).any().item<bool>() ||
                            at::logical_and(after.mask, dropped).any().item<bool>();
        if (filled) {
          ++broken;
          UNSCOPED_INFO(name << " after " << path << " > " << stage);
        }
      }
      std::vector<std::string> rest = left;
      rest.erase(std::find(rest.begin(), rest.end(), stage));
      go_on(next, rest, path + " > " + stage);
    }
  }
};

Model start_model() {
  stages::load_all();
  const Json params = {{"d_model", 16}, {"layers", 1}, {"d_state", 4}, {"vocabulary", small::vocabulary}};
  return Model::from_field(small::run("mamba/mamba", params, {}).at("model"));
}

}  // namespace

TEST_CASE("zeros survive every order of dare, project, compensate, mask and lora with its merge") {
  const std::vector<std::string> all = {"dare", "project", "compensate", "mask", "lora"};
  const Model plain = start_model();
  // A whole model, and a difference from a base.
  Model tuned = plain.mutable_copy();
  for (const SiteSpec& site : tuned.sites()) {
    tuned.writable(site.name).sparse.add_(normal(site.shape, 4).to(at::kFloat), 0.02);
  }
  const Model difference = Model::from_field(
      stages::apply("reference/relative_to", Json::object(), tuned, {{"base", plain.to_field()}}).at("model"));
  const auto walk_all = [](const Model& model, const std::vector<std::string>& stages_to_order, int steps) {
    const Around around(model);
    Walk walk{around, selected_names(select_sites(model, stages::sites))};
    walk.go_on(model, stages_to_order, "start");
    CHECK(walk.visited == steps);
    CHECK(walk.broken == 0);
    CHECK(walk.lost_mask == 0);
  };
  walk_all(plain, all, 5 + 20 + 60 + 120 + 120);
  walk_all(difference, {"dare", "project", "compensate", "lora"}, 4 + 12 + 24 + 24);
}

TEST_CASE("zeros survive every order on CLIP's towers too") {
  const Model start = stages::small_clip();
  const Around around = Around::of_clip(start);
  Walk walk{around, selected_names(select_sites(start, stages::clip_sites))};
  walk.go_on(start, {"dare", "project", "compensate", "mask", "lora"}, "start");
  CHECK(walk.visited == 5 + 20 + 60 + 120 + 120);
  CHECK(walk.broken == 0);
  CHECK(walk.lost_mask == 0);
}

TEST_CASE("stored bytes follow what stages keep: fewer numbers take fewer, and a mask given up is paid for") {
  const Model plain = start_model();
  Model tuned = plain.mutable_copy();
  for (const SiteSpec& site : tuned.sites()) {
    tuned.writable(site.name).sparse.add_(normal(site.shape, 4).to(at::kFloat), 0.02);
  }
  const Model start = Model::from_field(
      stages::apply("reference/relative_to", {{"sites", stages::sites}}, tuned, {{"base", plain.to_field()}})
          .at("model"));
  const auto stored = [&](const Model& model) {
    const Value value = stages::apply("realize/stored", {{"sites", stages::sites}}, model);
    return scalar_from(value.at("sites")).value;
  };
  const auto dared = [](const Model& model, double rate) {
    return Model::from_field(
        stages::apply("dare/dare", {{"sites", stages::sites}, {"drop_rate", rate}}, model).at("model"));
  };
  const double dense = stored(start);
  const Model half = dared(start, 0.5), tenth = dared(half, 0.9);
  CHECK(stored(half) < 0.7 * dense);
  CHECK(stored(tenth) < 0.3 * stored(half));
  // A change of low rank costs its factors and nothing else.
  const Around around(tenth);
  const Model projected = Model::from_field(stages::run_stage("project", tenth, around).at("model"));
  double factors = 0;
  for (const std::string& name : selected_names(select_sites(tenth, stages::sites))) {
    const SiteSpec& site = tenth.site(name);
    factors += static_cast<double>((site.rows() + site.columns()) * projected.weight(name).rank() * 4);
  }
  CHECK(stored(projected) - stored(tenth) == Approx(factors).epsilon(0.05));
  // Zeros given up: what is stored are the factors, however sparse the weight was.
  const Value truncated = stages::run_stage("truncate effective", tenth, around);
  const Table report = table_from(truncated.at("report"));
  for (const Json& gave_up : report.column("gave_up_mask").cells) CHECK(gave_up == true);
  double rank_four = 0;
  for (const std::string& name : selected_names(select_sites(tenth, stages::sites))) {
    rank_four += static_cast<double>((tenth.site(name).rows() + tenth.site(name).columns()) * 4 * 4);
  }
  const double of_factors = stored(Model::from_field(truncated.at("model")));
  CHECK(of_factors <= 1.05 * rank_four);  // rows that were all zero stay zero in them, and cost less
  CHECK(of_factors > 2 * stored(tenth));
}

}  // namespace colonnade::alphaedit
