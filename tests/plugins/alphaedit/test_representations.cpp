#include <catch2/catch.hpp>

#include "stages.h"

// What each op does to each part of W = R + S + U Vᵀ, a cell of the table at a time.
namespace colonnade::alphaedit {

namespace {

using stages::Around;

// A model all of whose chosen sites have this representation.
Model represented(const Model& plain, const std::string& sites, bool reference, bool mask, bool low_rank) {
  Model model = plain.mutable_copy();
  for (const std::string& name : selected_names(select_sites(plain, sites))) {
    SiteWeight& weight = model.writable(name);
    if (reference) set_reference(weight, weight.sparse * 0.8);
    if (mask) apply_mask(weight, random_uniform(RandomStream(6).at(name), weight.sparse.sizes(), at::kDouble) < 0.6);
    if (low_rank) {
      const SiteSpec& spec = model.site(name);
      edit_low_rank(weight, 0.1 * normal({spec.rows(), 4}, 1), 0.1 * normal({spec.columns(), 4}, 2));
    }
  }
  return model;
}

// The same structure, other weights.
Model alike(const Model& model) {
  Model other = model.mutable_copy();
  for (const SiteSpec& spec : model.sites())
    other.writable(spec.name).sparse.add_(normal(spec.shape, 12).to(model.dtype()), 0.05);
  return other;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || at::equal(a, b));
}

bool fills_zeros(const SiteWeight& before, const SiteWeight& after) {
  if (!before.has_mask()) return false;
  return at::logical_and(after.sparse != 0, before.mask.logical_not()).any().item<bool>();
}

// As the table says. What an op may change is compared with what it says it did.
void check_cell(const std::string& stage, const SiteWeight& before, const SiteWeight& after, bool gave_up) {
  CHECK(same(before.reference, after.reference));
  if (stage == "truncate effective") {
    CHECK(gave_up == before.has_mask());
    CHECK(!after.has_mask());
    CHECK(!after.sparse.any().item<bool>());
    CHECK(after.rank() == 4);
    return;
  }
  CHECK(!gave_up);
  CHECK(!fills_zeros(before, after));
  const bool thins = stage.starts_with("dare") || stage == "mask";
  const bool adds_factors = stage == "project" || stage == "compensate";
  if (stage == "rounded") {
    CHECK(same(before.mask, after.mask));
    CHECK(after.rank() == before.rank());
    CHECK(at::allclose(after.sparse, before.sparse, 1e-3, 1e-6));
    return;
  }
  if (thins) {
    CHECK(after.has_mask());
    CHECK(at::equal(after.sparse != 0, at::logical_and(after.mask, before.sparse != 0)));
  } else {
    CHECK(same(before.mask, after.mask));
  }
  if (adds_factors || stage == "truncate") CHECK(same(before.sparse, after.sparse));
  if (adds_factors) {
    CHECK(after.rank() == before.rank() + 2);
  } else if (stage == "truncate") {
    CHECK(after.rank() == std::min<std::int64_t>(before.rank(), 2));
  } else if (stage != "lora") {
    CHECK(same(before.u, after.u));
    CHECK(same(before.v, after.v));
  }
  if (stage == "interpolate") CHECK(!same(before.sparse, after.sparse));
}

bool says_mask_given_up(const Value& value, const std::string& site) {
  if (value.fields.count("report") == 0) return false;
  const Table report = table_from(value.at("report"));
  if (!report.has_column("gave_up_mask")) return false;
  for (std::size_t row = 0; row < report.rows(); ++row) {
    if (report.column("site").cells.at(row) == site) return report.column("gave_up_mask").cells.at(row);
  }
  return false;
}

// Calls check(representation, its description) for all eight.
template <typename Check>
void each_representation(const Model& plain, const std::string& sites, Check check) {
  for (int kind = 0; kind < 8; ++kind) {
    const bool reference = (kind & 1) != 0, mask = (kind & 2) != 0, low_rank = (kind & 4) != 0;
    check(represented(plain, sites, reference, mask, low_rank), std::string(reference ? " on a reference" : "") +
                                                                    (mask ? " with a mask" : "") +
                                                                    (low_rank ? " with a low-rank part" : ""));
  }
}

// Every op on one site of a model.
void check_table(const Model& plain, const std::string& site, Around (*around_of)(const Model&)) {
  const std::string sites = around_of(plain).chosen;
  each_representation(plain, sites, [&](const Model& model, const std::string& kind) {
    // Compensation restores towards another model, so that there is something to restore.
    Around around = around_of(model);
    around.start = alike(plain).to_field();
    for (const char* stage : {"dare", "dare magnitude", "dare rows", "mask", "project", "compensate", "truncate",
                              "truncate effective", "lora", "interpolate", "rounded"}) {
      INFO(stage << kind);
      const Value value = std::string(stage) == "interpolate"
                              ? stages::apply("alphaedit/interpolate", {{"sites", sites}, {"alphas", {0.3}}}, model,
                                              {{"tasks", alike(plain).to_field()}})
                              : stages::run_stage(stage, model, around);
      const Model after = Model::from_field(value.at("model"));
      check_cell(stage, model.weight(site), after.weight(site), says_mask_given_up(value, site));
    }
  });
}

// The ops that need nothing but weights, on a site that is no matrix product over features.
void check_weights_only(const Model& plain, const std::string& site) {
  INFO(site);
  each_representation(plain, site, [&](const Model& model, const std::string& kind) {
    Around around(site, model);
    for (const char* stage :
         {"dare", "dare magnitude", "dare rows", "mask", "truncate", "truncate effective", "rounded"}) {
      if (std::string(stage) == "truncate effective" && model.site(site).columns() <= 4) continue;  // nothing to cut
      INFO(stage << kind);
      const Value value = stages::run_stage(stage, model, around);
      const Model after = Model::from_field(value.at("model"));
      check_cell(stage, model.weight(site), after.weight(site), says_mask_given_up(value, site));
    }
  });
}

}  // namespace

TEST_CASE("every op does to every representation what the table says, on Mamba") {
  stages::load_all();
  check_table(mamba(), "backbone.layers.1.mixer.in_proj", [](const Model& model) { return Around(model); });
}

TEST_CASE("every op does to every representation what the table says, on CLIP") {
  check_table(stages::small_clip(), "vision_model.encoder.layers.0.mlp.fc1", Around::of_clip);
}

TEST_CASE("convolutions and embeddings follow the table too, on Mamba and on CLIP") {
  stages::load_all();
  for (const char* site : {"backbone.embeddings", "backbone.layers.1.mixer.conv1d"}) check_weights_only(mamba(), site);
  for (const char* site : {"vision_model.embeddings.patch_embedding", "text_model.embeddings.token_embedding"}) {
    check_weights_only(stages::small_clip(), site);
  }
}

}  // namespace colonnade::alphaedit
