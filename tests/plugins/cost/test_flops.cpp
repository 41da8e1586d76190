#include <catch2/catch.hpp>

#include "tests/plugins/cost/cost_support.h"

namespace colonnade {

namespace {

// One token of the small model, by hand: width 6, 8 channels, 3 states, rank 2, 3 taps, a vocabulary of 11, 2 layers.
constexpr double layer_flops = 6                      // norm
                               + 2 * 16 * 6 + 16      // in_proj and its bias
                               + 2 * 8 * 3 + 8        // conv1d and its bias
                               + 2 * (2 + 2 * 3) * 8  // x_proj
                               + 2 * 6 * 8 + 6        // out_proj and its bias
                               + 8 * 3;               // decay
constexpr double head_flops = 2 * 11 * 6;
constexpr double all_flops = 2 * layer_flops + head_flops + 6;

double executed(const Model& model) {
  return cost::number(cost::of("flops", model), "executed");
}
double nominal(const Model& model) {
  return cost::number(cost::of("flops", model), "nominal");
}

// Work beside the sites, and a site that is applied once a pass.
class Costed final : public Architecture {
 public:
  std::string type() const override { return "costed/costed"; }
  std::vector<SiteSpec> sites(const Json&) const override {
    SiteSpec site;
    site.name = site.tensor_name = "once";
    site.shape = {4, 5};
    return {site};
  }
  std::vector<Symmetry> symmetries(const Json&) const override { return {}; }
  Tensor forward(SiteRunner& run, const Json&, const Batch& batch) const override {
    return run.linear("once", batch.at("ids"));
  }
  std::vector<FixedCost> fixed_costs(const Json&, std::int64_t length) const override {
    return {{"attention", 3.0 * static_cast<double>(length * length)}};
  }
  double applications(const Json&, const SiteSpec&, std::int64_t) const override { return 1; }
};

}  // namespace

TEST_CASE("a dense model costs what counting by hand gives, nominal and executed alike") {
  const Value value = cost::of("flops", small::make());
  CHECK(cost::number(value, "executed") == all_flops);
  CHECK(cost::number(value, "nominal") == all_flops);
  CHECK(cost::number(value, "masked_share") == 0);
  const Table sites = table_from(value.at("sites"));
  double sum = 0, shares = 0;
  for (std::size_t row = 0; row < sites.rows(); ++row) {
    sum += sites.column("executed").cells[row].get<double>();
    shares += sites.column("share").cells[row].get<double>();
    if (sites.column("site").cells[row] != "layers.1.x_proj") continue;
    CHECK(sites.column("executed").cells[row] == 2 * 8 * 8);
    CHECK(sites.column("layer").cells[row] == 1);
  }
  CHECK(sum == Approx(all_flops));
  CHECK(shares == Approx(100));
}

TEST_CASE("masks take exactly their zeros off the nominal cost and nothing off the executed one") {
  for (const auto& [site, each] : std::vector<std::pair<std::string, double>>{
           {"layers.0.in_proj", 2}, {"layers.1.conv1d", 2}, {"embedding", 2}, {"layers.0.decay", 1}}) {
    INFO(site);
    const cost::Masked masked = cost::masked(site);
    REQUIRE(masked.zeros > 2);
    CHECK(executed(masked.model) == all_flops);
    CHECK(nominal(masked.model) == all_flops - each * masked.zeros);
    const double cap = each * static_cast<double>(masked.model.site(site).elements());
    CHECK(cost::number(cost::of("flops", masked.model), "masked_share") == Approx(100 * cap / all_flops));
  }
}

TEST_CASE("learned masks count by what evaluation keeps") {
  load_plugin("mask");
  const Model model = small::run_model("mask/mask", {{"sites", "*.in_proj"}, {"target_sparsity", 0.25}}, small::make());
  CHECK(executed(model) == all_flops);
  CHECK(nominal(model) == all_flops - 2 * 0.25 * (2 * 16 * 6));
  CHECK(cost::number(cost::of("size", model), "site_sparsity") == 0.25);
}

TEST_CASE("a mask on what is added to a reference leaves no zeros in the weight") {
  cost::Masked masked = cost::masked("layers.0.in_proj");
  SiteWeight& weight = masked.model.writable("layers.0.in_proj");
  weight.reference = at::ones_like(weight.sparse);
  CHECK(nominal(masked.model) == all_flops);
}

TEST_CASE("low-rank parts and unmerged adapters cost their own products, merged ones nothing") {
  load_plugin("lora");
  load_plugin("ia3");
  Model low_rank = small::make();
  SiteWeight& weight = low_rank.writable("layers.0.x_proj");
  weight.u = at::ones({8, 2}, at::kDouble);
  weight.v = at::ones({8, 2}, at::kDouble);
  CHECK(executed(low_rank) == all_flops + 2 * 2 * (8 + 8));
  const Model lora =
      small::run_model("lora/lora", {{"rank", 3}, {"sites", "layers.0.in_proj,layers.1.out_proj"}}, small::make());
  const double branches = 2 * 3 * (16 + 6) + 2 * 3 * (6 + 8);
  CHECK(executed(lora) == all_flops + branches);
  CHECK(nominal(lora) == all_flops + branches);
  // On the output's rows, but on the input's columns of a feed-forward down projection.
  const Model ia3 =
      small::run_model("ia3/ia3", {{"sites", "layers.0.in_proj,layers.0.out_proj,norm_f"}}, small::make());
  CHECK(executed(ia3) == all_flops + 16 + 8);
  for (const Model& adapted : {lora, ia3}) {
    Model folded = adapted.mutable_copy();
    fold_adapters(folded, {"layers.0.in_proj", "layers.0.out_proj", "layers.1.out_proj", "norm_f"});
    CHECK(executed(folded) == all_flops);
  }
}

TEST_CASE("updates of convolutions and masked sites go into the weight once a pass, which is no cost of a token") {
  load_plugin("lora");
  CHECK(executed(small::run_model("lora/lora", {{"rank", 1}, {"sites", "*.conv1d"}}, small::make())) == all_flops);
  const cost::Masked masked = cost::masked("layers.0.in_proj");
  const Model tuned = small::run_model("lora/lora", {{"rank", 2}, {"sites", "layers.0.in_proj"}}, masked.model);
  CHECK(executed(tuned) == all_flops);
  CHECK(nominal(tuned) == all_flops - 2 * masked.zeros);
}

TEST_CASE("work beside the sites and what is done once a pass are shared out over the tokens") {
  const Model model(std::make_shared<const Costed>(), Json::object());
  Registrar registrar("costed");
  register_architecture(registrar, std::make_shared<const Costed>());
  Registry::instance().commit(std::move(registrar));
  const Value value = cost::of("flops", model, {{"length", 16}});
  CHECK(cost::number(value, "executed") == 3 * 16 + 2.0 * 4 * 5 / 16);
  const Table sites = table_from(value.at("sites"));
  CHECK(sites.column("site").cells == Json({"once", "attention"}));
  CHECK(sites.column("layer").cells[1].is_null());
}

}  // namespace colonnade
