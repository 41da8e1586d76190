#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "colonnade/error.h"
#include "colonnade/tensor/model.h"

namespace colonnade {

namespace {

// The indices of one member's axis after the symmetry's variables were permuted; elsewhere nothing moves.
Tensor axis_index(const Model& model, const Symmetry& symmetry, const SymmetryMember& member, const Tensor& order) {
  const SiteSpec& site = model.site(member.site);
  const std::int64_t length = member.axis == 0 ? site.rows() : site.columns();
  Tensor index = at::arange(length, at::kLong);
  Tensor within = at::arange(symmetry.group, at::kLong);
  Tensor moved = (order.reshape({-1, 1}) * symmetry.group + within).reshape({-1}) + member.start;
  index.narrow(0, member.start, symmetry.size * symmetry.group).copy_(moved);
  return index;
}

void take(Tensor& tensor, int dim, const Tensor& index) {
  if (dim < 0 || !tensor.defined()) return;
  tensor = tensor.detach().index_select(dim, index);
}

void check_order(const Symmetry& symmetry, const Tensor& order) {
  const bool valid = order.dim() == 1 && order.numel() == symmetry.size && order.scalar_type() == at::kLong &&
                     at::equal(std::get<0>(order.sort()), at::arange(symmetry.size, at::kLong));
  if (valid) return;
  throw Error(ErrorKind::input, "the order given for symmetry '" + symmetry.name + "' is no permutation of its " +
                                    std::to_string(symmetry.size) + " variables");
}

void permute_member(Model& model, const SymmetryMember& member, const Tensor& index, ParameterState* state) {
  // Names and dimensions first: they are what the optimizer's state is known by.
  if (state != nullptr) {
    for (const Parameter& parameter : model.parameters()) {
      if (parameter.site != member.site || !state->contains(parameter.name)) continue;
      const int dim = member.axis == 0 ? parameter.row_dim : parameter.column_dim;
      const auto shape = parameter.tensor->sizes();
      for (auto& [name, tensor] : state->at(parameter.name)) {
        if (tensor.sizes() == shape) take(tensor, dim, index);
      }
    }
  }
  reindex(model.writable(member.site), member.axis, index);
  for (const AttachedAdapter& attached : model.adapters()) {
    if (attached.site != member.site) continue;
    for (auto& [name, entry] : attached.adapter->tensors()) {
      take(entry.tensor, member.axis == 0 ? entry.row_dim : entry.column_dim, index);
    }
  }
}

struct Collected {
  Tensor keep, scale_input, scale_output, update;
};

Tensor product_of(const Tensor& product, const Tensor& factor) {
  if (!factor.defined()) return product;
  return product.defined() ? product * factor : factor;
}

Collected collect(const Model& model, const std::string& site) {
  Collected all;
  for (const AttachedAdapter* attached : model.adapters_of(site)) {
    const Adapter& adapter = *attached->adapter;
    Tensor hard = adapter.hard_mask();
    if (hard.defined()) all.keep = all.keep.defined() ? at::logical_and(all.keep, hard) : hard;
    Tensor update = adapter.update({});
    if (update.defined()) all.update = all.update.defined() ? all.update + update : update;
    all.scale_input = product_of(all.scale_input, adapter.scale_input({}));
    all.scale_output = product_of(all.scale_output, adapter.scale_output({}));
  }
  return all;
}

void note(EditReport& total, const EditReport& part) {
  total.low_rank = total.low_rank || part.low_rank;
  total.gave_up_mask = total.gave_up_mask || part.gave_up_mask;
  total.lost_norm += part.lost_norm;
  total.requested_norm += part.requested_norm;
  total.rank = part.rank;
}

// An update of an unmasked site goes to U Vᵀ as long as that is smaller than the matrix, by its numerical rank.
EditReport fold_update(SiteWeight& weight, const Tensor& update) {
  if (weight.has_mask()) return edit_dense(weight, update);
  // A site without reference and low-rank part is one dense matrix already: nothing is lost by adding.
  if (!weight.has_reference() && weight.rank() == 0) return edit_dense(weight, update);
  auto [left, singular, right] = at::linalg_svd(update.to(at::kDouble), false);
  const double largest = singular.numel() > 0 ? singular[0].item<double>() : 0.0;
  constexpr double tolerance = 1e-7;
  const auto rank = (singular > largest * tolerance).sum().item<std::int64_t>();
  if (rank == 0) return {};
  Tensor root = singular.narrow(0, 0, rank).sqrt();
  return edit_low_rank(weight, left.narrow(1, 0, rank) * root, right.narrow(0, 0, rank).t() * root);
}

EditReport fold_site(Model& model, const SiteSpec& site, bool densify_allowed) {
  EditReport report;
  const Collected all = collect(model, site.name);
  SiteWeight& weight = model.writable(site.name);
  if (all.keep.defined()) apply_mask(weight, all.keep);
  if (all.update.defined()) note(report, fold_update(weight, all.update.detach()));
  if (all.scale_input.defined()) note(report, scale_columns(weight, all.scale_input.detach(), densify_allowed));
  if (all.scale_output.defined()) {
    note(report, scale_rows(weight, all.scale_output.detach(), densify_allowed));
    if (!site.bias.empty()) note(report, scale_rows(model.writable(site.bias), all.scale_output.detach(), densify_allowed));
  }
  report.rank = weight.rank();
  return report;
}

}  // namespace

void permute(Model& model, const Symmetry& symmetry, const Tensor& order, ParameterState* state) {
  at::NoGradGuard guard;
  check_order(symmetry, order);
  for (const SymmetryMember& member : symmetry.members) {
    permute_member(model, member, axis_index(model, symmetry, member, order), state);
  }
}

FoldReport fold_adapters(Model& model, const std::vector<std::string>& sites, bool densify_allowed) {
  at::NoGradGuard guard;
  FoldReport report;
  for (const std::string& name : sites) {
    if (model.adapters_of(name).empty()) continue;
    report.sites[name] = fold_site(model, model.site(name), densify_allowed);
    std::set<std::string> types;
    for (const AttachedAdapter* attached : model.adapters_of(name)) types.insert(attached->adapter->type());
    for (const std::string& type : types) model.detach(name, type);
  }
  return report;
}

}  // namespace colonnade
