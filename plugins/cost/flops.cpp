#include "flops.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "colonnade/tensor/empty_weight.h"

namespace colonnade {

namespace {

constexpr double multiply_add = 2;

// What a site's adapters, still attached, add to every use of it.
struct AdapterCost {
  double branches = 0, scales = 0;
  Tensor keep;  // of learned masks
};

// A factor pair is told by its two matrices.
double branch_flops(const Adapter& adapter) {
  double flops = 0;
  for (const auto& [name, entry] : adapter.tensors()) {
    if (entry.tensor.dim() == 2) flops += multiply_add * static_cast<double>(entry.tensor.numel());
  }
  return flops;
}

AdapterCost adapter_cost(const Model& model, const SiteSpec& site) {
  AdapterCost cost;
  for (const AttachedAdapter* attached : model.adapters_of(site.name)) {
    const Adapter& adapter = *attached->adapter;
    const Tensor hard = adapter.hard_mask();
    if (hard.defined()) {
      cost.keep = cost.keep.defined() ? at::logical_and(cost.keep, hard) : hard;
      continue;
    }
    if (adapter.update({}).defined()) cost.branches += branch_flops(adapter);
    if (adapter.scale_input({}).defined()) cost.scales += static_cast<double>(site.columns());
    if (adapter.scale_output({}).defined()) cost.scales += static_cast<double>(site.rows());
  }
  return cost;
}

bool is_head(const SiteSpec& site) {
  return std::find(site.roles.begin(), site.roles.end(), "head") != site.roles.end();
}

// Operations that one element of the site's weight takes part in at each use.
double element_flops(const SiteSpec& site) {
  if (site.kind == SiteKind::vector) return 1;
  return site.kind != SiteKind::embedding || is_head(site) ? multiply_add : 0;
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
  item.elements = is_empty_weight(weight.sparse) ? 0 : site.elements();
  item.zeros = masked_zeros(weight, adapters.keep);
  item.masked = weight.has_mask() || adapters.keep.defined();
  const double each = element_flops(site);
  if (each == 0) return item;
  const double uses =
      model.architecture().applications(model.configuration(), site, length) / static_cast<double>(length);
  // A vector takes its scales up into itself.
  double beside = site.kind == SiteKind::vector ? 0 : adapters.scales;
  if (site.kind == SiteKind::linear) {
    beside += multiply_add * static_cast<double>(weight.rank() * (site.rows() + site.columns()));
    if (!item.masked) beside += adapters.branches;
  }
  item.executed = uses * (each * static_cast<double>(item.elements) + beside);
  item.nominal = uses * (each * static_cast<double>(item.elements - item.zeros) + beside);
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
