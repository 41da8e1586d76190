#include <catch2/catch.hpp>

#include "plugins/mask/mask.h"
#include "tests/support/finite_differences.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

const SelectedSite everything(const std::string& site) {
  return {site, {}};
}

std::shared_ptr<Adapter> mask_for(const SiteSpec& site, const SelectedSite& selection, const MaskOptions& options,
                                  double initial = 1) {
  auto adapter = make_mask(site, selection, options, initial, at::kDouble, RandomStream(5).at("logits"));
  adapter->bind(site);
  return adapter;
}

MaskAdapter& as_mask(const std::shared_ptr<Adapter>& adapter) {
  return static_cast<MaskAdapter&>(*adapter);
}

SiteSpec matrix(std::int64_t rows, std::int64_t columns) {
  SiteSpec site;
  site.name = "matrix";
  site.tensor_name = "matrix.weight";
  site.shape = {rows, columns};
  return site;
}

StepInfo training(std::int64_t step = 0, std::int64_t total = 1) {
  return {true, step, total, RandomStream(9).at(static_cast<std::uint64_t>(step))};
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// E[σ((l + G) / τ)] over uniform u by the midpoint rule.
double expected_mean(double logit, double temperature, MaskNoise noise) {
  constexpr int steps = 400000;
  double sum = 0;
  for (int i = 0; i < steps; ++i) {
    const double u = (i + 0.5) / steps;
    const double g = noise == MaskNoise::logistic ? std::log(u) - std::log1p(-u) : -std::log(-std::log(u));
    sum += sigmoid((logit + g) / temperature);
  }
  return sum / steps;
}

const std::vector<Granularity> every_granularity = {Granularity::element, Granularity::row, Granularity::column,
                                                    Granularity::block};

}  // namespace

TEST_CASE("a sampled mask is the formula on the stream's own numbers") {
  const SiteSpec site = matrix(5, 4);
  MaskOptions options;
  options.noise = GENERATE(MaskNoise::logistic, MaskNoise::gumbel);
  options.temperature = 0.8;
  options.final_temperature = 0.2;
  const auto adapter = mask_for(site, everything("matrix"), options, 0.4);
  Tensor logits = as_mask(adapter).logits();
  for (const std::int64_t step : {0, 3, 9}) {
    const StepInfo info = training(step, 10);
    const RandomStream draws = info.random.at("mask").at("matrix");
    const double temperature = 0.8 * std::pow(0.25, static_cast<double>(step) / 9);
    Tensor mask = adapter->mask(info).contiguous();
    for (std::int64_t i = 0; i < mask.numel(); ++i) {
      const auto index = static_cast<std::uint64_t>(i);
      const double g = options.noise == MaskNoise::logistic ? draws.logistic(index) : draws.gumbel(index);
      const double l = logits.const_data_ptr<double>()[i];
      CHECK(mask.const_data_ptr<double>()[i] == Approx(sigmoid((l + g) / temperature)).epsilon(1e-12));
    }
  }
}

TEST_CASE("the mean of sampled masks is the distribution's") {
  constexpr std::int64_t side = 300;
  const SiteSpec site = matrix(side, side);
  constexpr double count = side * side;
  for (const MaskNoise noise : {MaskNoise::logistic, MaskNoise::gumbel}) {
    for (const double temperature : {0.3, 0.5, 0.8}) {
      for (const double logit : {-1.0, 0.0, 1.5}) {
        MaskOptions options;
        options.noise = noise;
        options.temperature = options.final_temperature = temperature;
        const auto adapter = mask_for(site, everything("matrix"), options);
        as_mask(adapter).logits() = at::full({side, side}, logit, at::kDouble);
        Tensor mask = adapter->mask(training());
        const double error = mask.std().item<double>() / std::sqrt(count);
        CHECK(std::abs(mask.mean().item<double>() - expected_mean(logit, temperature, noise)) < 5 * error);
      }
    }
  }
}

TEST_CASE("straight through gives zeros and ones, one with the probability that the noise says") {
  constexpr std::int64_t side = 300;
  const SiteSpec site = matrix(side, side);
  MaskOptions options;
  options.straight_through = true;
  options.noise = GENERATE(MaskNoise::logistic, MaskNoise::gumbel);
  for (const double logit : {-1.0, 0.0, 1.0}) {
    const auto adapter = mask_for(site, everything("matrix"), options);
    as_mask(adapter).logits() = at::full({side, side}, logit, at::kDouble);
    Tensor mask = adapter->mask(training());
    CHECK(at::logical_or(mask == 0, mask == 1).all().item<bool>());
    // P(l + G > 0): σ(l) for the logistic, 1 − exp(−exp(l)) for one Gumbel, which is larger.
    const double p = options.noise == MaskNoise::logistic ? sigmoid(logit) : 1 - std::exp(-std::exp(logit));
    const double error = std::sqrt(p * (1 - p)) / side;
    CHECK(std::abs(mask.mean().item<double>() - p) < 5 * error);
    if (options.noise == MaskNoise::gumbel) CHECK(p > sigmoid(logit));
  }
}

TEST_CASE("straight through has the gradient of the relaxation") {
  const SiteSpec site = matrix(4, 3);
  MaskOptions options;
  Tensor weights = random_normal(RandomStream(3), {4, 3}, at::kDouble);
  std::vector<Tensor> gradients;
  for (const bool straight : {false, true}) {
    options.straight_through = straight;
    const auto adapter = mask_for(site, everything("matrix"), options);
    Tensor leaf = as_mask(adapter).logits().clone().requires_grad_(true);
    as_mask(adapter).logits() = leaf;
    at::AutoGradMode recording(true);
    gradients.push_back(torch::autograd::grad({(adapter->mask(training()) * weights).sum()}, {leaf}).front());
  }
  CHECK(at::equal(gradients[0], gradients[1]));
}

TEST_CASE("every granularity divides the matrix without gap or overlap") {
  for (const Granularity granularity : every_granularity) {
    MaskOptions options;
    options.granularity = granularity;
    options.block_rows = 3;
    options.block_columns = 4;
    const SiteSpec site = matrix(7, 10);
    const SelectedSite parts{"matrix", {{"B", 1, 2}, {"C", 5, 2}}};
    for (const SelectedSite& selection : {everything("matrix"), parts}) {
      const auto adapter = mask_for(site, selection, options);
      MaskAdapter& mask = as_mask(adapter);
      Tensor active = mask.active_elements();
      CHECK(active.sum().item<double>() == (selection.rows.empty() ? 70 : 40));
      CHECK(mask.governed().sum().item<double>() == active.sum().item<double>());
      // Dropping one logit drops exactly the elements that it governs.
      Tensor governed = mask.governed().reshape({-1}).contiguous();
      for (std::int64_t i = 0; i < governed.numel(); ++i) {
        Tensor keep = at::ones({governed.numel()}, at::kBool);
        keep[i] = false;
        Tensor whole = mask.spread(keep.reshape(mask.logits().sizes()));
        CHECK((whole == 0).sum().item<double>() == governed.const_data_ptr<double>()[i]);
        CHECK(at::logical_or(whole, active).all().item<bool>());
      }
      // The pooled scores, weighted by what each governs, sum to the active scores.
      Tensor scores = random_normal(RandomStream(8), {7, 10}, at::kDouble);
      const double pooled = (pool(mask, scores) * mask.governed()).sum().item<double>();
      CHECK(pooled == Approx((scores * active).sum().item<double>()));
    }
  }
}

TEST_CASE("the budget is met exactly, by sorting, with ties settled by order") {
  const std::vector<std::int64_t> sizes = {17, 40, 3};
  for (const double target : {0.0, 0.1, 0.3, 0.5, 0.777, 1.0}) {
    std::vector<Tensor> scores, governed;
    std::vector<std::pair<double, int>> all;
    int number = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      // Rounded, so that many are equal.
      Tensor values = (random_normal(RandomStream(4).at(i), {sizes[i]}, at::kDouble) * 2).round();
      scores.push_back(values);
      governed.push_back(at::ones({sizes[i]}, at::kDouble));
      for (std::int64_t k = 0; k < sizes[i]; ++k) all.emplace_back(-values[k].item<double>(), number++);
    }
    std::sort(all.begin(), all.end());
    const auto wanted = static_cast<std::size_t>(std::llround((1 - target) * 60));
    std::vector<char> expected(60, 0);
    for (std::size_t k = 0; k < wanted; ++k) expected[static_cast<std::size_t>(all[k].second)] = 1;
    std::size_t at = 0;
    for (const Tensor& keep : keep_highest(scores, governed, target)) {
      for (std::int64_t k = 0; k < keep.numel(); ++k) CHECK(keep[k].item<bool>() == (expected[at++] == 1));
    }
  }
}

TEST_CASE("a budget over groups misses by less than one group") {
  Tensor scores = random_normal(RandomStream(4), {50}, at::kDouble);
  Tensor governed = (random_uniform(RandomStream(5), {50}, at::kDouble) * 9).floor() + 1;
  for (const double target : {0.2, 0.5, 0.9}) {
    Tensor keep = keep_highest({scores}, {governed}, target).front();
    const double kept = (governed * keep).sum().item<double>();
    CHECK(std::abs(kept - (1 - target) * governed.sum().item<double>()) <= 5.5);
  }
}

TEST_CASE("evaluation uses what the rule keeps, and only on the active rows") {
  register_linked_plugin(colonnade_plugin);
  Model model = small::make();
  const auto selection = select_sites(model, "layers.0.x_proj#B,layers.1.conv1d");
  MaskOptions options;
  for (const SelectedSite& site : selection) {
    model.attach(site.name, make_mask(model.site(site.name), site, options, 1, at::kDouble, RandomStream(2)));
  }
  small::randomise_adapters(model, 7);
  const auto masks = masks_of(model);
  REQUIRE(masks.size() == 2);
  decide(masks, ThresholdRule::zero, 0.5);
  for (MaskAdapter* mask : masks) CHECK(at::equal(mask->keep(), mask->logits() > 0));
  decide(masks, ThresholdRule::budget, 0.25);
  const double elements = small::states * small::channels + small::channels * small::taps;
  CHECK(hard_sparsity(masks) == Approx(std::round(0.25 * elements) / elements));
  for (MaskAdapter* mask : masks) {
    Tensor hard = mask->hard_mask();
    CHECK(at::equal(mask->mask({}), hard.to(at::kDouble)));
    CHECK(at::logical_or(hard, mask->active_elements()).all().item<bool>());
  }
}

TEST_CASE("gradients reach logits and weights through every granularity") {
  register_linked_plugin(colonnade_plugin);
  for (const Granularity granularity : every_granularity) {
    for (const MaskNoise noise : {MaskNoise::logistic, MaskNoise::gumbel}) {
      Model model = small::make();
      MaskOptions options;
      options.granularity = granularity;
      options.block_rows = 2;
      options.block_columns = 3;
      options.noise = noise;
      for (const SelectedSite& site : select_sites(model, "kind:linear,kind:conv1d,embedding,*norm*,layers.0.decay")) {
        model.attach(site.name, make_mask(model.site(site.name), site, options, 0.5, at::kDouble, RandomStream(2)));
      }
      const Batch batch = small::batch();
      check_gradients(model, [&](const Model& at) { return at.loss(batch, training(2, 5)); });
    }
  }
}

TEST_CASE("the mean of sampled masks is kept over steps and survives storing") {
  register_linked_plugin(colonnade_plugin);
  Model model = small::make();
  const std::string site = "layers.0.in_proj";
  model.attach(site, make_mask(model.site(site), everything(site), {}, 1, at::kDouble, RandomStream(2)));
  MaskAdapter& mask = *masks_of(model).front();
  CHECK(!mask.sampled_mean().defined());
  Tensor sum = at::zeros_like(mask.logits());
  constexpr int steps = 6;
  for (int step = 0; step < steps; ++step) {
    model.loss(small::batch(), training(step, steps));
    sum = sum + mask.mask(training(step, steps));
    mask.after_step(training(step, steps));
  }
  CHECK(small::largest_difference(mask.sampled_mean(), sum / steps) < 1e-12);
  const Model again = Model::from_field(model.to_field());
  CHECK(at::equal(masks_of(again).front()->sampled_mean(), mask.sampled_mean()));
  CHECK(again.to_field().content_hash() == model.to_field().content_hash());
}

TEST_CASE("a damaged mask is refused by name") {
  register_linked_plugin(colonnade_plugin);
  Model model = small::make();
  const std::string site = "layers.0.x_proj";
  MaskOptions options;
  options.granularity = Granularity::block;
  model.attach(site, make_mask(model.site(site), everything(site), options, 1, at::kDouble, RandomStream(2)));
  const Field good = model.to_field();
  const auto refusal = [&](const std::string& tensor, const Tensor& replacement) {
    Field field = good;
    field.tensors["adapters/0/" + tensor] = to_blob(replacement);
    return small::error_of([&] { Model::from_field(field); });
  };
  Field lacking = good;
  lacking.tensors.erase("adapters/0/keep");
  using Catch::Matchers::Contains;
  CHECK_THAT(small::error_of([&] { Model::from_field(lacking); }),
             Contains("the mask at site 'layers.0.x_proj' lacks its tensor 'keep'"));
  const auto misfit = Contains("the mask's tensors do not fit site 'layers.0.x_proj'");
  CHECK_THAT(refusal("logits", at::zeros({3, 3}, at::kDouble)), misfit);
  CHECK_THAT(refusal("keep", at::ones({1, 1}, at::kDouble)), misfit);
  CHECK_THAT(refusal("active", at::ones({3}, at::kBool)), misfit);
  CHECK_THAT(refusal("row_block", at::full({8}, 77, at::kLong)), misfit);
  CHECK_THAT(refusal("column_block", at::full({8}, -1, at::kLong)), misfit);
  CHECK_THAT(refusal("logits", at::full({1, 1}, std::nan(""), at::kDouble)), Contains("NaN in") && Contains("logits"));
}

}  // namespace colonnade
