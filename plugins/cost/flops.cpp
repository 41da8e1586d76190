#include "flops.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace colonnade {

namespace {

constexpr double multiply_add = 2;

struct AdapterCost {
  double flops = 0;
  Tensor keep;  // of learned masks
};

// Branches and scales of adapters that are still attached. A factor pair is told by its two matrices.
AdapterCost adapter_cost(const Model& model, const SiteSpec& site) {
  AdapterCost cost;
  for (const AttachedAdapter* attached : model.adapters_of(site.name)) {
    const Adapter& adapter = *attached->adapter;
    Tensor hard = adapter.hard_mask();
    if (hard.defined()) {
      cost.keep = cost.keep.defined() ? at::logical_and(cost.keep, hard) : hard;
      continue;
    }
    if (adapter.update({}).defined()) {
      for (const auto& [name, entry] : adapter.tensors()) {
        if (entry.tensor.dim() == 2) cost.flops += multiply_add * static_cast<double>(entry.tensor.numel());
      }
    }
    if (adapter.scale_input({}).defined()) cost.flops += static_cast<double>(site.columns());
    if (adapter.scale_output({}).defined()) cost.flops += static_cast<double>(site.rows());
  }
  return cost;
}

bool is_head(const SiteSpec& site) { return std::find(site.roles.begin(), site.roles.end(), "head") != site.roles.end(); }

// Whether each element of the site's weight is used in a product once a token.
bool applies_products(const SiteSpec& site) {
  if (site.kind == SiteKind::vector) return false;
  return site.kind != SiteKind::embedding || is_head(site);
}

// What of W is zero by a mask. With a reference W = R + S keeps R's elements.
std::int64_t masked_zeros(const SiteWeight& weight, const Tensor& keep) {
  if (weight.has_reference()) return 0;
  Tensor kept = weight.has_mask() ? weight.mask.reshape({weight.mask.size(0), -1}) : Tensor();
  if (keep.defined()) kept = kept.defined() ? at::logical_and(kept, keep) : keep;
  if (!kept.defined()) return 0;
  return kept.numel() - kept.sum().item<std::int64_t>();
}

CostItem site_cost(const Model& model, const SiteSpec& site, std::int64_t length) {
  const SiteWeight& weight = model.weight(site.name);
  const AdapterCost adapters = adapter_cost(model, site);
  CostItem item;
  item.name = site.name;
  item.layer = site.layer;
  item.elements = site.elements();
  item.zeros = masked_zeros(weight, adapters.keep);
  item.masked = weight.has_mask() || adapters.keep.defined();
  if (!applies_products(site)) return item;
  const double uses = model.architecture().applications(model.configuration(), site, length) / static_cast<double>(length);
  const double low_rank = weight.rank() > 0 ? multiply_add * static_cast<double>(weight.rank() * (site.rows() + site.columns())) : 0;
  const double beside = low_rank + adapters.flops;
  item.executed = uses * (multiply_add * static_cast<double>(item.elements) + beside);
  item.nominal = uses * (multiply_add * static_cast<double>(item.elements - item.zeros) + beside);
  return item;
}

}  // namespace

std::vector<CostItem> count_flops(const Model& model, std::int64_t length) {
  at::NoGradGuard guard;
  std::vector<CostItem> items;
  for (const SiteSpec& site : model.sites()) items.push_back(site_cost(model, site, length));
  for (const FixedCost& fixed : model.architecture().fixed_costs(model.configuration(), length)) {
    CostItem item;
    item.name = fixed.name;
    item.nominal = item.executed = fixed.flops / static_cast<double>(length);
    items.push_back(item);
  }
  return items;
}

}  // namespace colonnade
