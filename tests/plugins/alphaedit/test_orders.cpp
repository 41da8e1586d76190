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

}  // namespace colonnade::alphaedit
