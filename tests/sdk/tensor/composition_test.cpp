#include <ATen/Functions.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>

#include "tests/sdk/tensor/fixtures.h"

// y = l_out ⊙ ((R + M ⊙ (S + Σ ΔW) + U Vᵀ)(l_in ⊙ x) + b): whatever is attached, in whatever order, folding leaves the
// function and the masks' zeros as they are.
namespace colonnade {

namespace {

using laws::attach;
using laws::carries;
using laws::Form;
using laws::kinds;
using laws::masked_zeros_hold;
using small::error_of;
using small::relative_error;

constexpr double bound = 1e-10;

using Kinds = std::vector<std::string>;

bool has(const Kinds& chosen, const std::string& kind) {
  return std::find(chosen.begin(), chosen.end(), kind) != chosen.end();
}

// Every pair, twice the same too, and every three different ones, each in every order.
std::vector<Kinds> pairs_and_triples() {
  std::vector<Kinds> all;
  for (const std::string& first : kinds()) {
    all.push_back({first});
    for (const std::string& second : kinds()) {
      all.push_back({first, second});
      if (second == first) continue;
      for (const std::string& third : kinds()) {
        if (third != first && third != second) all.push_back({first, second, third});
      }
    }
  }
  return all;
}

bool fits(const SiteSpec& site, const Kinds& chosen) {
  return std::all_of(chosen.begin(), chosen.end(), [&](const std::string& kind) { return carries(site.kind, kind); });
}

Model with_adapters(const Model& base, const std::string& site, const Kinds& chosen) {
  Model model = base.mutable_copy({site});
  std::uint64_t seed = 0;
  for (const std::string& kind : chosen) attach(model, site, kind, ++seed);
  return model;
}

// A scale beside a mask and a reference has no folded form without giving the mask up.
bool gives_up_mask(const Form& form, const Kinds& chosen) {
  const bool masked = form.mask || has(chosen, "decide");
  return form.reference && masked && (has(chosen, "output") || has(chosen, "input"));
}

void check_folded(const Model& base, const SiteSpec& site, const Form& form, const Kinds& chosen, const Batch& batch) {
  const Model model = with_adapters(base, site.name, chosen);
  const Tensor expected = model.forward(batch);
  std::vector<std::string> writable = {site.name};
  if (!site.bias.empty()) writable.push_back(site.bias);
  Model folded = model.mutable_copy(writable);
  const bool clash = gives_up_mask(form, chosen);
  if (clash) {
    Model refused = model.mutable_copy(writable);
    CHECK(error_of([&] {
            fold_adapters(refused, {site.name});
          }).starts_with("site '" + site.name + "': scaling a site that is masked"));
  }
  const FoldReport report = fold_adapters(folded, {site.name}, clash || form.reference);
  CHECK(folded.adapters().empty());
  CHECK(relative_error(folded.forward(batch), expected) < bound);
  const SiteWeight& weight = folded.weight(site.name);
  CHECK(report.sites.at(site.name).gave_up_mask == clash);
  CHECK(weight.has_mask() == ((form.mask || has(chosen, "decide")) && !clash));
  CHECK(masked_zeros_hold(weight));
  if (weight.has_mask() && form.mask) {
    CHECK_FALSE(at::logical_and(weight.mask, at::logical_not(model.weight(site.name).mask)).any().item<bool>());
  }
}

void check_everywhere(const Form& form, const std::vector<Kinds>& choices) {
  laws::provide();
  Model base = small::make();
  laws::take_form(base, form);
  const Batch batch = small::batch(1, 4);
  for (const SiteSpec& site : base.sites()) {
    if (site.layer > 0) continue;  // the second layer's sites are like the first's
    for (const Kinds& chosen : choices) {
      if (!fits(site, chosen)) continue;
      INFO("site " << site.name << ", " << laws::text_of(form) << ", adapters " << Json(chosen).dump());
      check_folded(base, site, form, chosen, batch);
    }
  }
}

std::vector<Kinds> pairs() {
  std::vector<Kinds> all = pairs_and_triples();
  std::erase_if(all, [](const Kinds& chosen) { return chosen.size() > 2; });
  return all;
}

void attach_everything(Model& model, const Kinds& without = {}) {
  for (const SiteSpec& site : model.sites()) {
    for (const std::string& kind : kinds()) {
      if (carries(site.kind, kind) && !has(without, kind)) attach(model, site.name, kind, 7);
    }
  }
}

std::vector<std::string> site_names(const Model& model) {
  std::vector<std::string> names;
  for (const SiteSpec& site : model.sites()) names.push_back(site.name);
  return names;
}

// One linear site, large enough that its updates are not decomposed whole.
class Wide final : public Architecture {
 public:
  std::string type() const override { return "laws/wide"; }
  std::vector<SiteSpec> sites(const Json&) const override {
    SiteSpec spec;
    spec.name = spec.tensor_name = "wide";
    spec.shape = {200, 150};
    return {spec};
  }
  std::vector<Symmetry> symmetries(const Json&) const override { return {}; }
  Tensor forward(SiteRunner& run, const Json&, const Batch& batch) const override {
    return run.linear("wide", batch.at("x"));
  }
  std::vector<FixedCost> fixed_costs(const Json&, std::int64_t) const override { return {}; }
};

}  // namespace

TEST_CASE("folded equals unfolded: every pair and triple in every order on every kind of site") {
  check_everywhere({false, false, false}, pairs_and_triples());
}

TEST_CASE("folded equals unfolded: every pair on masked sites with a low-rank part") {
  check_everywhere({false, true, true}, pairs());
}

TEST_CASE("folded equals unfolded: every pair on sites with a reference") {
  check_everywhere({true, false, false}, pairs());
}

TEST_CASE("folded equals unfolded: every pair on masked sites with a reference and a low-rank part") {
  check_everywhere({true, true, true}, pairs());
}

TEST_CASE("the formula itself, on a linear site by loops") {
  laws::provide();
  Model model = small::make();
  laws::take_form(model, {true, true, true});
  const std::string name = "layers.0.in_proj";
  attach_everything(model);
  const SiteSpec& site = model.site(name);
  Tensor x = random_normal(RandomStream(3), {2, 3, site.columns()}, at::kDouble);
  SiteRunner run(model, {}, nullptr);
  const Tensor y = run.linear(name, x);

  Tensor mask = model.weight(name).mask.to(at::kDouble), delta = at::zeros({site.rows(), site.columns()}, at::kDouble);
  Tensor l_in = at::ones({site.columns()}, at::kDouble), l_out = at::ones({site.rows()}, at::kDouble);
  for (const AttachedAdapter* each : model.adapters_of(name)) {
    const Adapter& adapter = *each->adapter;
    if (adapter.mask({}).defined()) mask = mask * adapter.mask({});
    if (adapter.update({}).defined()) delta = delta + adapter.update({});
    if (adapter.scale_input({}).defined()) l_in = l_in * adapter.scale_input({});
    if (adapter.scale_output({}).defined()) l_out = l_out * adapter.scale_output({});
  }
  const SiteWeight& weight = model.weight(name);
  const Tensor bias = SiteRunner(model, {}, nullptr).parameter(site.bias);
  for (std::int64_t row = 0; row < site.rows(); ++row) {
    double sum = bias[row].item<double>();
    for (std::int64_t column = 0; column < site.columns(); ++column) {
      double w = weight.reference[row][column].item<double>();
      w += mask[row][column].item<double>() * (weight.sparse[row][column] + delta[row][column]).item<double>();
      w += (weight.u[row] * weight.v[column]).sum().item<double>();
      sum += w * (l_in[column] * x[1][2][column]).item<double>();
    }
    CHECK(y[1][2][row].item<double>() == Approx(l_out[row].item<double>() * sum).epsilon(1e-12).margin(1e-11));
  }
}

TEST_CASE("everything on every site at once folds, whatever the order of the sites") {
  laws::provide();
  for (const Form& form : laws::forms()) {
    if (form.reference) continue;  // beside masks and scales it is refused, which the pairs test
    Model model = small::make();
    laws::take_form(model, form);
    attach_everything(model);
    const Tensor expected = model.forward(small::batch());
    std::vector<std::string> names = site_names(model);
    for (const bool reversed : {false, true}) {
      INFO(laws::text_of(form) << (reversed ? ", reversed" : ""));
      if (reversed) std::reverse(names.begin(), names.end());
      Model folded = model.mutable_copy();
      fold_adapters(folded, names);
      CHECK(folded.adapters().empty());
      CHECK(relative_error(folded.forward(small::batch()), expected) < bound);
      for (const std::string& name : names) CHECK(masked_zeros_hold(folded.weight(name)));
    }
  }
}

TEST_CASE("a bias is folded before the scale of its site, though only the site was named") {
  laws::provide();
  Model model = small::make();
  attach(model, "layers.0.in_proj.bias", "update");
  attach(model, "layers.0.in_proj", "output");
  const Tensor expected = model.forward(small::batch());
  Model folded = model.mutable_copy();
  const FoldReport report = fold_adapters(folded, {"layers.0.in_proj"});
  CHECK(report.sites.contains("layers.0.in_proj.bias"));
  CHECK(relative_error(folded.forward(small::batch()), expected) < bound);
}

TEST_CASE("updates of a large matrix are folded at their rank, be it small, large or too large for factors") {
  for (const auto type : {"f64", "f32"}) {
    for (const int adapters : {1, 40, 44}) {
      Model model(std::make_shared<const Wide>(), {{"dtype", type}});
      model.set_weight("wide", laws::make_weight({200, 150}, {true, false, false}, 1, model.dtype()));
      for (int i = 0; i < adapters; ++i) attach(model, "wide", "update", static_cast<std::uint64_t>(i));
      const Batch batch{{{"x", random_normal(RandomStream(1), {3, 150}, model.dtype())}}};
      const Tensor expected = model.forward(batch);
      const EditReport report = fold_adapters(model, {"wide"}).sites.at("wide");
      INFO(type << ", " << adapters << " updates of rank 2");
      // Rounding gives a sum of many fp32 products a rank of its own.
      if (model.dtype() == at::kFloat && adapters > 1) {
        CHECK(relative_error(model.forward(batch), expected) < 1e-4);
        continue;
      }
      // 85 (200 + 150) < 200 * 150 <= 86 (200 + 150).
      CHECK(report.low_rank == (adapters < 44));
      CHECK(report.rank == (adapters < 44 ? 2 * adapters : 0));
      CHECK(relative_error(model.forward(batch), expected) < (model.dtype() == at::kDouble ? bound : 1e-4));
    }
  }
}

TEST_CASE("an update of low rank goes to U V^T beside a reference") {
  laws::provide();
  Model model = small::make();
  const std::string name = "layers.0.in_proj";
  laws::take_form(model, {true, false, false});
  attach(model, name, "update");
  const FoldReport report = fold_adapters(model, {name});
  CHECK(report.sites.at(name).low_rank);
  CHECK(model.weight(name).rank() == laws::update_rank);
}

TEST_CASE("scales on an embedding and input scales on a convolution are refused, folding and forward") {
  laws::provide();
  for (const auto& [site, kind, why] : std::vector<std::array<std::string, 3>>{
           {"embedding", "output", "an embedding, which scales do not act on"},
           {"layers.1.conv1d", "input", "a convolution's taps have no input scale"}}) {
    Model model = small::make();
    attach(model, site, kind);
    CHECK(error_of([&] { fold_adapters(model, {site}); }) == "site '" + site + "': " + why);
    CHECK_FALSE(error_of([&] { model.forward(small::batch()); }).empty());
    CHECK(model.adapters().size() == 1);
  }
}

TEST_CASE("in training, branches on masked sites give what the masked update gives") {
  laws::provide();
  StepInfo training;
  training.training = true;
  for (const Kinds& chosen :
       std::vector<Kinds>{{"decide", "branch"}, {"branch", "decide"}, {"fade", "update", "branch"}}) {
    Model branched = small::make();
    laws::take_form(branched, {false, true, true});
    Model plain = branched.mutable_copy();
    std::uint64_t seed = 0;
    for (const std::string& kind : chosen) {
      ++seed;
      for (const SiteSpec& site : branched.sites()) {
        if (site.kind != SiteKind::linear) continue;
        attach(branched, site.name, kind, seed);
        auto adapter = laws::make_law(kind, site, at::kDouble, seed);
        // The same tensors behind an adapter that knows no branch.
        if (kind == "branch") adapter = std::make_shared<laws::Law>("update", adapter->tensors());
        plain.attach(site.name, adapter);
      }
    }
    INFO(Json(chosen).dump());
    CHECK(relative_error(branched.forward(small::batch(), training), plain.forward(small::batch(), training)) < 1e-12);
  }
}

}  // namespace colonnade
