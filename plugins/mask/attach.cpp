#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include "budget.h"
#include "colonnade/error.h"
#include "ops.h"

namespace colonnade {

namespace {

MaskOptions mask_options(const OpContext& context) {
  MaskOptions options;
  options.granularity = granularity_from(context.param<std::string>("granularity"));
  options.block_rows = context.param<std::int64_t>("block_rows");
  options.block_columns = context.param<std::int64_t>("block_columns");
  options.noise = context.param<std::string>("noise") == "logistic" ? MaskNoise::logistic : MaskNoise::gumbel;
  options.temperature = context.param<double>("temperature");
  options.final_temperature =
      context.has_param("final_temperature") ? context.param<double>("final_temperature") : options.temperature;
  options.straight_through = context.param<bool>("straight_through");
  options.logit_rate = context.param<double>("logit_rate");
  return options;
}

BudgetOptions budget_options(const OpContext& context) {
  BudgetOptions options;
  options.target_sparsity = context.param<double>("target_sparsity");
  options.penalty =
      context.param<std::string>("penalty") == "lagrangian" ? PenaltyRule::lagrangian : PenaltyRule::fixed;
  options.sparsity_weight = context.param<double>("sparsity_weight");
  options.multiplier_rate = context.param<double>("multiplier_rate");
  options.threshold = context.param<std::string>("threshold") == "budget" ? ThresholdRule::budget : ThresholdRule::zero;
  return options;
}

// What an earlier mask dropped can have no say: it starts as surely dropped, so that the budget counts it in first.
void drop_what_is_dropped(const Model& model) {
  at::NoGradGuard guard;
  constexpr double surely = -30;  // of a logit: sigma is 1e-13
  for (MaskAdapter* mask : masks_of(model)) {
    const SiteWeight& weight = model.weight(mask->site().name);
    if (!weight.has_mask()) continue;
    Tensor kept = pool(*mask, weight.mask.reshape({mask->site().rows(), mask->site().columns()}));
    Tensor gone = at::logical_and(kept == 0, mask->governed() > 0);
    mask->logits() = mask->logits().masked_fill(gone, surely);
  }
}

}  // namespace

std::string sites_to_mask(const Model& model) {
  const auto& all = model.sites();
  const bool selective = std::any_of(all.begin(), all.end(), [](const SiteSpec& site) {
    return site.kind == SiteKind::conv1d || site.name.ends_with(".x_proj");
  });
  return selective ? default_masked_sites : "kind:linear";
}

Value attach_masks(OpContext& context) {
  const Model source = Model::from_field(context.input("model"));
  if (const auto masks = masks_of(source); !masks.empty()) {
    throw Error(ErrorKind::usage,
                "the model has a learned mask already, at site '" + masks.front()->site().name +
                    "'; fold it with `harden` before others are attached, or choose all sites at once");
  }
  const auto selection = chosen_sites(context, source, sites_to_mask(source));
  const MaskOptions options = mask_options(context);
  const BudgetOptions budget = budget_options(context);
  const double initial = context.param<double>("initial_logit");
  Model model = source.mutable_copy(selected_names(selection));
  for (const SelectedSite& site : selection) {
    model.attach(site.name, make_mask(model.site(site.name), site, options, initial, model.dtype(), context.random()));
  }
  drop_what_is_dropped(model);
  decide(masks_of(model), budget.threshold, budget.target_sparsity);
  model.add_hook(make_budget(budget));
  Value value;
  value.fields["model"] = model.to_field();
  return value;
}

}  // namespace colonnade
