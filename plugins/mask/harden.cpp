#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <limits>

#include "calibration.h"
#include "colonnade/error.h"
#include "mask.h"
#include "ops.h"

namespace colonnade {

namespace {

// The site with the rows that its mask may drop, each run of active rows as one part.
SelectedSite masked_rows(MaskAdapter& mask) {
  SelectedSite selected{mask.site().name, {}};
  Tensor active = mask.active_elements().select(1, 0).contiguous();
  const bool* row = active.const_data_ptr<bool>();
  for (std::int64_t i = 0; i < active.numel(); ++i) {
    if (!row[i]) continue;
    if (!selected.rows.empty() && selected.rows.back().start + selected.rows.back().size == i) {
      ++selected.rows.back().size;
    } else {
      selected.rows.push_back({"", i, 1});
    }
  }
  return selected;
}

double mean_probability(MaskAdapter& mask) {
  return 1 - soft_sparsity({&mask});
}

// Of the elements that a mask may drop, those that it or an earlier one did.
double dropped_elements(MaskAdapter& mask, const Model& hardened) {
  const SiteSpec& site = mask.site();
  const Tensor kept = hardened.weight(site.name).mask.reshape({site.rows(), site.columns()});
  return at::logical_and(mask.active_elements(), kept.logical_not()).sum().item<double>();
}

double elements_of(MaskAdapter& mask) {
  return mask.governed().sum().item<double>();
}

Table report_of(const std::vector<MaskAdapter*>& masks, const Model& hardened,
                const std::map<std::string, double>& losses) {
  Table table;
  table.add_column("site", "text");
  table.add_column("layer", "integer");
  table.add_column("elements", "integer");
  table.add_column("sparsity", "real");
  table.add_column("soft_sparsity", "real");
  table.add_column("importance", "real");
  table.add_column("cosine_loss", "real");
  for (MaskAdapter* mask : masks) {
    const SiteSpec& site = mask->site();
    const auto loss = losses.find(site.name);
    table.add_row({site.name, site.layer, mask->governed().sum().item<std::int64_t>(),
                   dropped_elements(*mask, hardened) / elements_of(*mask), soft_sparsity({mask}),
                   mean_probability(*mask), loss == losses.end() ? Json() : Json(loss->second)});
  }
  return table;
}

Scalar share(double value, double elements, Better better) {
  return {value, static_cast<std::int64_t>(elements), {}, "", better, {}};
}

}  // namespace

Value harden_masks(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const auto masks = masks_of(source);
  if (masks.empty()) throw Error(ErrorKind::input, "the model has no learned mask to harden; attach some with `mask`");
  std::vector<std::string> names;
  std::vector<SelectedSite> sites;
  double elements = 0, dropped = 0;
  for (MaskAdapter* mask : masks) {
    names.push_back(mask->site().name);
    sites.push_back(masked_rows(*mask));
    elements += elements_of(*mask);
  }
  Model dense = source.mutable_copy(names);
  for (const std::string& name : names) dense.detach(name, mask_adapter);
  Model model = source.mutable_copy(names);
  for (MaskAdapter* mask : masks) {
    apply_mask(model.writable(mask->site().name), mask->hard_mask());
    model.detach(mask->site().name, mask_adapter);
    dropped += dropped_elements(*mask, model);
  }
  model.remove_hooks("mask/budget");

  const auto batches = calibration_of(context, source.dtype());
  std::map<std::string, double> losses;
  Scalar gap{std::numeric_limits<double>::quiet_NaN(), 0, {}, "nats", Better::lower, {}};
  if (!batches.empty()) {
    losses = cosine_losses(dense, model, sites, batches);
    gap.value = mean_loss(model, batches) - mean_training_loss(source, batches, context.random().at("gap"));
    for (const Batch& batch : batches)
      gap.n += batch.tensors.contains("targets") ? batch.at("targets").numel() : rows_of(batch);
  }
  Value value;
  value.fields["report"] = to_field(report_of(masks, model, losses));
  value.fields["sparsity"] = to_field(share(dropped / elements, elements, Better::higher));
  value.fields["soft_sparsity"] = to_field(share(soft_sparsity(masks), elements, Better::higher));
  value.fields["gap"] = to_field(gap);
  value.fields["model"] = model.to_field();
  return value;
}

}  // namespace colonnade
