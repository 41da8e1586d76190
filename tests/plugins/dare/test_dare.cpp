#include <ATen/Parallel.h>
#include <catch2/catch.hpp>

#include <cmath>
#include <optional>

#include "dare_support.h"
#include "plugins/dare/dare.h"

namespace colonnade::dare {

namespace {

using Catch::Matchers::Contains;

constexpr const char* linears = "kind:linear,kind:conv1d";

// What mergekit's `sparsify` (L1) and MergeLM (1/keep) make of a tensor and a mask, by their definitions.
Tensor rescaled_by_loop(const Tensor& before, const Tensor& mask, const std::string& rescale, double rate) {
  Tensor flat = before.to(at::kDouble).reshape({-1}).contiguous(), keep = mask.reshape({-1}).contiguous();
  Tensor result = at::zeros_like(flat);
  double whole = 0, left = 0;
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    const double value = flat.const_data_ptr<double>()[i];
    whole += std::abs(value);
    if (keep.const_data_ptr<bool>()[i]) left += std::abs(value);
  }
  const double factor = rescale == "l1" ? whole / left : rescale == "none" ? 1 : 1 / (1 - rate);
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    if (keep.const_data_ptr<bool>()[i]) result.data_ptr<double>()[i] = flat.const_data_ptr<double>()[i] * factor;
  }
  return result.reshape(before.sizes());
}

}  // namespace

TEST_CASE("a schedule's mask is the one-shot mask bit for bit, and its survivors end at 1/(1 - rate)") {
  for (const char* strategy : {"uniform", "magnitude", "structured"}) {
    for (const bool exact : {false, true}) {
      const Model base = mamba(), start = relative(tuned(base), base);
      const auto params = [&](double rate) {
        return Json{{"drop_rate", rate}, {"strategy", strategy}, {"exact_count", exact}, {"structure", "columns"}};
      };
      Model staged = start;
      for (const double rate : {0.5, 0.8, 0.9}) staged = dared(staged, params(rate), 3);
      const Model once = dared(start, params(0.9), 3);
      CHECK(same_masks(staged, once));
      for (const SiteSpec& site : once.sites()) {
        const Tensor a = staged.weight(site.name).sparse, b = once.weight(site.name).sparse;
        // Three roundings of a factor each.
        CHECK((a - b).abs().max().item<double>() <= 1e-6 * b.abs().max().item<double>());
      }
      // A lower rate afterwards neither drops nor scales.
      const Model lower = dared(once, params(0.3), 3);
      CHECK(same_masks(lower, once));
      CHECK(at::equal(lower.weight("backbone.norm_f").sparse, once.weight("backbone.norm_f").sparse));
    }
  }
}

TEST_CASE("masks and weights are the same for any number of threads, and masks for both floating types") {
  const Model model = mamba();
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Model one = dared(model, {{"drop_rate", 0.9}}, 1);
  at::set_num_threads(3);
  const Model three = dared(model, {{"drop_rate", 0.9}}, 1);
  at::set_num_threads(threads);
  CHECK(same_masks(one, three));
  for (const SiteSpec& site : one.sites()) {
    CHECK(at::equal(one.weight(site.name).sparse, three.weight(site.name).sparse));
  }
  CHECK(same_masks(one, dared(mamba(0, "f64"), {{"drop_rate", 0.9}}, 1)));
  CHECK(!same_masks(one, dared(model, {{"drop_rate", 0.9}}, 2)));
}

TEST_CASE("exact_count drops exactly round(rate n) of every site") {
  const Model model = mamba();
  for (const char* strategy : {"uniform", "magnitude"}) {
    for (const double rate : {0.0, 0.123, 0.5, 0.99, 1.0}) {
      const Json params = {{"drop_rate", rate}, {"exact_count", true}, {"strategy", strategy}, {"sites", linears}};
      const Model dropped = dared(model, params);
      for (const SiteSpec& site : model.sites()) {
        const SiteWeight& weight = dropped.weight(site.name);
        if (!weight.has_mask()) continue;
        const auto gone = weight.mask.numel() - weight.mask.sum().item<std::int64_t>();
        CHECK(gone == std::llround(rate * static_cast<double>(site.elements())));
        CHECK((weight.sparse != 0).logical_and(weight.mask.logical_not()).any().item<bool>() == false);
      }
    }
  }
}

TEST_CASE("survivors are rescaled as mergekit and MergeLM do on the same mask") {
  const Model base = mamba(), start = relative(tuned(base), base);
  for (const char* rescale : {"inverse_keep", "l1", "none"}) {
    const Model dropped = dared(start, {{"drop_rate", 0.9}, {"rescale", rescale}});
    for (const SiteSpec& site : start.sites()) {
      const SiteWeight& weight = dropped.weight(site.name);
      REQUIRE(weight.has_mask());
      CHECK(at::equal(weight.reference, base.weight(site.name).sparse));
      if (!weight.mask.any().item<bool>()) continue;
      const Tensor wanted = rescaled_by_loop(start.weight(site.name).sparse, weight.mask, rescale, 0.9);
      CHECK(small::relative_error(weight.sparse, wanted) < 3e-7);  // fp32 products
    }
  }
}

TEST_CASE("l1 keeps each site's norm through a schedule") {
  const Model base = mamba(), start = relative(tuned(base), base);
  Model model = start;
  for (const double rate : {0.5, 0.9}) model = dared(model, {{"drop_rate", rate}, {"rescale", "l1"}});
  const std::string site = "backbone.layers.0.mixer.in_proj";
  CHECK(model.weight(site).sparse.abs().sum(at::kDouble).item<double>() ==
        Approx(start.weight(site).sparse.abs().sum(at::kDouble).item<double>()).epsilon(1e-6));
}

TEST_CASE("a fitted scale lies in its range and changes outputs less than 1/keep and none do") {
  const Model base = mamba(), start = relative(tuned(base, 0.05), base);
  const Field text = to_field(small::text(600));
  const auto distance = [&](const Model& model) {
    return (model.forward(small::batch(4, 30, 9)) - start.forward(small::batch(4, 30, 9))).norm().item<double>();
  };
  const Json params = {{"drop_rate", 0.95}, {"rescale", "fitted"}, {"length", 64}, {"samples", 8}};
  register_linked_plugin(colonnade_plugin);
  const Value value = small::run("dare/dare", params, {{"model", start.to_field()}, {"data", text}});
  const double scale = scalar_from(value.at("scale")).value;
  CHECK(scale >= 1);
  CHECK(scale <= 20.001);
  const Model fitted = Model::from_field(value.at("model"));
  CHECK(same_masks(fitted, dared(start, {{"drop_rate", 0.95}})));
  CHECK(distance(fitted) < distance(dared(start, {{"drop_rate", 0.95}})));
  CHECK(distance(fitted) <= 1.02 * distance(dared(start, {{"drop_rate", 0.95}, {"rescale", "none"}})));
  CHECK_THAT(small::error_of([&] { run_dare(start, {{"rescale", "fitted"}}); }), Contains("needs the input `data`"));
}

TEST_CASE("golden sections find the least of a curve, inside and at the ends") {
  for (const double best : {1.0, 1.7, 6.0, 10.0}) {
    const double found = fit_scale(0.9, [&](double scale) { return std::pow(scale - best, 2); });
    CHECK(found == Approx(best).epsilon(2e-3));
  }
  CHECK(fit_scale(0, [](double) { return 1.0; }) == 1);
}

TEST_CASE("rows and columns go as wholes; the rest is scaled") {
  const Model model = mamba();
  const std::string site = "backbone.layers.1.mixer.in_proj";
  for (const char* structure : {"rows", "columns"}) {
    const int along = std::string(structure) == "rows" ? 1 : 0;
    const Json params = {{"drop_rate", 0.4}, {"strategy", "structured"}, {"structure", structure}, {"sites", site}};
    const Tensor before = model.weight(site).sparse, after = dared(model, params).weight(site).sparse;
    const Tensor kept = (after != 0).any(along);
    CHECK(at::equal(after != 0, (before != 0).logical_and(kept.unsqueeze(along))));
    CHECK(small::relative_error(after, before * kept.unsqueeze(along) / 0.6) < 3e-7);
    CHECK(kept.sum().item<double>() == Approx(0.6 * kept.numel()).margin(4 * std::sqrt(0.24 * kept.numel())));
  }
}

TEST_CASE("the variables of a symmetry go at all their sites at once") {
  const Model model = mamba();
  const Json params = {{"drop_rate", 0.5},
                       {"strategy", "structured"},
                       {"structure", "channels"},
                       {"rescale", "none"},
                       {"sites", linears}};
  const Model dropped = dared(model, params);
  const Symmetry& channels = model.symmetry("layers.0.channels");
  const std::string mixer = "backbone.layers.0.mixer.";
  const Tensor kept = (dropped.weight(mixer + "out_proj").sparse != 0).any(0);
  CHECK(kept.numel() == channels.size);
  CHECK(kept.sum().item<double>() == Approx(0.5 * kept.numel()).margin(2 * std::sqrt(kept.numel())));
  const Tensor rows = (dropped.weight(mixer + "in_proj").sparse != 0).any(1);
  CHECK(at::equal(rows.narrow(0, 0, channels.size), kept));
  CHECK(at::equal(rows.narrow(0, channels.size, channels.size), kept));
  CHECK(at::equal((dropped.weight(mixer + "x_proj").sparse != 0).any(0), kept));
  CHECK(at::equal((dropped.weight(mixer + "conv1d").sparse != 0).any(2).any(1), kept));
  CHECK_THAT(small::error_of([&] {
               run_dare(model, {{"strategy", "structured"}, {"structure", "channel"}});
             }),
             Contains("there are: channels, columns, model, rows, state; did you mean 'channels'?"));
}

TEST_CASE("of = weights takes the reference in, gives up a mask that no longer holds, and says so") {
  const Model base = mamba(), start = relative(tuned(base), base);
  const std::string site = "backbone.layers.0.mixer.x_proj";
  const Model thin = dared(start, {{"drop_rate", 0.5}, {"sites", site}});
  const Value value = run_dare(thin, {{"drop_rate", 0.3}, {"of", "weights"}, {"sites", site}, {"rescale", "none"}}, 7);
  const Model dropped = Model::from_field(value.at("model"));
  const SiteWeight& weight = dropped.weight(site);
  CHECK(!weight.has_reference());
  CHECK(table_from(value.at("report")).column("gave_up_mask").cells == Json({true}));
  CHECK(report(value, "sparsity") == Approx(0.3).margin(0.03));
  const Tensor whole = effective_weight(thin.weight(site));
  CHECK(at::equal(weight.sparse, at::where(weight.mask, whole, at::zeros({}))));
  CHECK_THAT(small::error_of([&] {
               run_dare(mamba(), {{"of", "delta"}});
             }),
             Contains("set one with model:relative_to"));
}

TEST_CASE("zeros that were filled between stages are refused by name; another seed starts anew") {
  const Model base = mamba();
  Model model = dared(base, {{"drop_rate", 0.5}, {"sites", linears}}).mutable_copy();
  SiteWeight& turned = model.writable("backbone.layers.0.mixer.in_proj");
  turned.mask = turned.mask.roll(1, 0);
  turned.sparse = turned.sparse.roll(1, 0);
  CHECK_THAT(small::error_of([&] {
               run_dare(model, {{"drop_rate", 0.9}, {"sites", linears}});
             }),
             Contains("its zeros were filled or moved") && Contains("draw anew with another `seed`"));
  const Value anew = run_dare(model, {{"drop_rate", 0.5}, {"sites", linears}}, 1);
  CHECK(report(anew, "sparsity") == Approx(0.75).margin(0.03));
  CHECK(report(anew, "factor") == 2);
}

TEST_CASE("a difference that the same numbers thinned, and a model that does not say so, is refused") {
  const Model base = mamba(), model = relative(tuned(base), base);
  Model forgotten = dared(model, {{"drop_rate", 0.9}}).mutable_copy();
  forgotten.remove_hooks("dare/");
  for (const double rate : {0.5, 0.9, 0.99}) {
    CHECK_THAT(small::error_of([&] {
                 dared(forgotten, {{"drop_rate", rate}});
               }),
               Contains("the same numbers thinned it before") && Contains("draw anew with another `seed`"));
  }
  CHECK_NOTHROW(dared(forgotten, {{"drop_rate", 0.9}}, 1));
  CHECK_NOTHROW(dared(forgotten, {{"drop_rate", 1.0}}));
}

TEST_CASE("an order of variables between two stages keeps masks nested: they are the one-shot mask, moved") {
  const Model base = mamba(), start = relative(tuned(base), base);
  const auto moved = [](const Model& model) {
    Model turned = model.mutable_copy();
    for (const char* name : {"layers.0.channels", "layers.1.state", "model"}) {
      const Symmetry& symmetry = turned.symmetry(name);
      permute(turned, symmetry, random_permutation(RandomStream(2).at(name), symmetry.size));
    }
    return turned;
  };
  for (const char* strategy : {"uniform", "magnitude", "structured"}) {
    for (const bool exact : {false, true}) {
      for (const char* structure : {"rows", "columns", "channels"}) {
        if (std::string(strategy) != "structured" && std::string(structure) != "rows") continue;
        const auto params = [&](double rate, const std::string& sites) {
          return Json{{"drop_rate", rate},
                      {"strategy", strategy},
                      {"exact_count", exact},
                      {"structure", structure},
                      {"sites", sites}};
        };
        INFO(strategy << " " << structure << (exact ? " exact" : ""));
        const std::string all = "all", fewer = "layer:0,kind:embedding";
        // The order comes through the store, twice, and the first stage has not seen every site.
        const Model first = Model::from_field(moved(dared(start, params(0.5, fewer))).to_field());
        const Model staged = dared(moved(first), params(0.9, all));
        const Model once = moved(moved(dared(start, params(0.9, all))));
        CHECK(same_masks(staged, once));
        for (const SiteSpec& site : once.sites()) {
          const Tensor a = staged.weight(site.name).sparse, b = once.weight(site.name).sparse;
          CHECK((a - b).abs().max().item<double>() <= 1e-6 * b.abs().max().item<double>());
        }
      }
    }
  }
}

TEST_CASE("masks do not depend on the number of threads, the schedule's neither") {
  const Model base = mamba(), start = relative(tuned(base), base);
  const int threads = at::get_num_threads();
  std::optional<Model> first;
  for (const int count : {1, 2, 8}) {
    at::set_num_threads(count);
    Model model = start;
    for (const double rate : {0.9, 0.95, 0.99}) model = dared(model, {{"drop_rate", rate}});
    CHECK(same_masks(model, dared(start, {{"drop_rate", 0.99}})));
    if (!first) first = model;
    CHECK(same_masks(model, *first));
  }
  at::set_num_threads(threads);
}

TEST_CASE("a structured drop of low-rank parts takes their rows and columns; elements of factors are refused") {
  Model model = mamba().mutable_copy();
  const std::string site = "backbone.layers.0.mixer.in_proj";
  SiteWeight& weight = model.writable(site);
  edit_low_rank(weight, random_normal(RandomStream(1), {192, 2}), random_normal(RandomStream(2), {48, 2}));
  const Json params = {
      {"drop_rate", 0.5}, {"strategy", "structured"}, {"structure", "rows"}, {"low_rank", true}, {"sites", site}};
  const Model dropped = dared(model, params);
  const SiteWeight& after = dropped.weight(site);
  const Tensor kept = after.mask.any(1);
  CHECK(small::relative_error(effective_weight(after), effective_weight(weight) * kept.reshape({-1, 1}) * 2) < 1e-6);
  CHECK_THAT(small::error_of([&] {
               run_dare(model, {{"low_rank", true}});
             }),
             Contains("needs strategy = \"structured\""));
}

TEST_CASE("adapters are folded first, and an all-zero difference stays zero") {
  load_plugin("lora");
  Model model = small::run_model("lora/lora", {{"rank", 2}}, mamba()).mutable_copy();
  small::randomise_adapters(model, 3, 0.05, 0);
  const Model merged = dared(model, {{"drop_rate", 0.0}, {"sites", linears}});
  CHECK(merged.adapters().empty());
  CHECK(small::relative_error(merged.forward(small::batch()), model.forward(small::batch())) < 1e-5);
  const Model base = mamba(), same = relative(base, base);
  for (const char* rescale : {"l1", "inverse_keep"}) {
    const Model dropped = dared(same, {{"rescale", rescale}});
    CHECK(at::equal(dropped.forward(small::batch()), same.forward(small::batch())));
  }
}

TEST_CASE("the history travels with a stored model and needs no training") {
  const Model once = dared(mamba(), {{"drop_rate", 0.5}});
  REQUIRE(once.hooks().size() == 1);
  CHECK(once.hooks().front()->type() == "dare/history@2");
  CHECK(once.to_field().carries.contains("dare"));
  const Value twice = run_dare(once, {{"drop_rate", 0.75}});
  CHECK(report(twice, "factor") == Approx(2));
  CHECK(report(twice, "scale") == Approx(4));
  CHECK(table_from(twice.at("report")).column("continued").cells.at(0) == true);
  CHECK(past_of(Model::from_field(twice.at("model"))).rules.size() > 1);
}

}  // namespace colonnade::dare
