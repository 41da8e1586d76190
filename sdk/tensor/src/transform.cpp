#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

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
  tensor = tensor.detach().index_select(dim, index.to(tensor.device()));
}

void check_order(const Symmetry& symmetry, const Tensor& order) {
  const bool valid = order.dim() == 1 && order.numel() == symmetry.size && order.scalar_type() == at::kLong &&
                     at::equal(std::get<0>(order.sort()), at::arange(symmetry.size, at::kLong));
  if (valid) return;
  throw Error(ErrorKind::input, "the order given for symmetry '" + symmetry.name + "' is no permutation of its " +
                                    std::to_string(symmetry.size) + " variables");
}

[[noreturn]] void refuse_member(const Symmetry& symmetry, const SymmetryMember& member, const std::string& why) {
  throw Error(ErrorKind::input, "symmetry '" + symmetry.name + "', axis " + std::to_string(member.axis) + " of site '" +
                                    member.site + "': " + why);
}

// A plugin's mistake is told before anything has moved, or the model would be left half permuted.
void check_members(Model& model, const Symmetry& symmetry) {
  for (const SymmetryMember& member : symmetry.members) {
    const SiteSpec& site = model.site(member.site);
    model.set_weight(member.site, model.weight(member.site));  // refused where it may not be written
    const bool matrix = site.shape.size() == 2;
    if (member.axis != 0 && (member.axis != 1 || !matrix))
      refuse_member(symmetry, member, "there is no such axis to permute");
    const std::int64_t length = member.axis == 0 ? site.rows() : site.columns();
    const std::int64_t end = member.start + symmetry.size * symmetry.group;
    if (member.start < 0 || end > length) {
      refuse_member(symmetry, member,
                    "indices " + std::to_string(member.start) + " to " + std::to_string(end - 1) +
                        " do not lie within its " + std::to_string(length));
    }
    for (const AttachedAdapter* attached : model.adapters_of(member.site)) {
      for (const auto& [name, entry] : std::as_const(*attached->adapter).tensors()) {
        const int dim = member.axis == 0 ? entry.row_dim : entry.column_dim;
        if (dim < 0 || !entry.tensor.defined()) continue;
        if (dim < entry.tensor.dim() && entry.tensor.size(dim) == length) continue;
        refuse_member(symmetry, member,
                      "the tensor '" + name + "' of its adapter '" + attached->adapter->type() +
                          "' says that its dimension " + std::to_string(dim) + " follows this axis, but has not " +
                          std::to_string(length) + " entries there");
      }
    }
  }
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
  SiteWeight weight = model.weight(member.site);
  reindex(weight, member.axis, index);
  model.set_weight(member.site, std::move(weight));
  for (const auto& hook : model.hooks()) hook->moved(member.site, member.axis, index);
  for (const AttachedAdapter& attached : model.adapters()) {
    if (attached.site != member.site) continue;
    for (auto& [name, entry] : attached.adapter->tensors()) {
      take(entry.tensor, member.axis == 0 ? entry.row_dim : entry.column_dim, index);
    }
  }
}

// What the adapters of a site come to in evaluation.
struct Collected {
  Tensor keep;  // of masks that decide
  Tensor fade;  // the product of those that only weaken
  Tensor scale_input, scale_output, update;
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
    if (hard.defined()) {
      all.keep = all.keep.defined() ? at::logical_and(all.keep, hard) : hard;
    } else {
      all.fade = product_of(all.fade, adapter.mask({}));
    }
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

constexpr double rank_tolerance = 1e-7;      // of the largest singular value
constexpr std::int64_t sketch_columns = 64;  // more than the rank of any usual adapter
constexpr double sketch_tolerance = 2e-7;    // fp32 products are no better

// U and V with U Vᵀ = update, at its numerical rank.
std::pair<Tensor, Tensor> singular_factors(const Tensor& update) {
  auto [left, singular, right] = at::linalg_svd(update, false);
  const double largest = singular.numel() > 0 ? singular[0].item<double>() : 0.0;
  const auto rank = (singular > largest * rank_tolerance).sum().item<std::int64_t>();
  Tensor root = singular.narrow(0, 0, rank).sqrt();
  return {left.narrow(1, 0, rank) * root, right.narrow(0, 0, rank).t() * root};
}

// The whole decomposition of a large matrix takes seconds; an update of low rank lies in the span of a few random
// combinations of its columns, and whether it does is checked.
std::pair<Tensor, Tensor> factors_of(const Tensor& given) {
  Tensor update = given.to(at::kDouble);
  if (std::min(update.size(0), update.size(1)) <= 2 * sketch_columns) return singular_factors(update);
  Tensor probes =
      random_normal(RandomStream(0).at("factors of an update"), {update.size(1), sketch_columns}, at::kDouble);
  Tensor basis = std::get<0>(at::linalg_qr(at::matmul(update, probes), "reduced"));
  Tensor inside = at::matmul(basis.t(), update);
  const double missed = (update - at::matmul(basis, inside)).norm().item<double>();
  if (missed > sketch_tolerance * update.norm().item<double>()) return singular_factors(update);
  auto [u, v] = singular_factors(inside);
  return {at::matmul(basis, u), v};
}

// An update of an unmasked site goes to U Vᵀ as long as that is smaller than the matrix, by its numerical rank.
EditReport fold_update(SiteWeight& weight, const Tensor& update) {
  if (weight.has_mask()) return edit_dense(weight, update);
  // A site without reference and low-rank part is one dense matrix already: nothing is lost by adding.
  if (!weight.has_reference() && weight.rank() == 0) return edit_dense(weight, update);
  require_finite(update, "an adapter's update");
  auto [u, v] = factors_of(update);
  if (u.size(1) == 0) return {};
  return edit_low_rank(weight, u, v);
}

// Masks, then updates (masked), on S alone.
EditReport fold_masks_and_updates(SiteWeight& weight, const Collected& all) {
  if (all.keep.defined()) apply_mask(weight, all.keep);
  if (!all.fade.defined()) return all.update.defined() ? fold_update(weight, all.update) : EditReport{};
  // A mask that weakens acts on S and updates alike, so both have to be in S.
  Tensor fade = all.fade.to(weight.sparse.scalar_type());
  weight.sparse = (weight.sparse.reshape({weight.sparse.size(0), -1}) * fade).reshape(weight.sparse.sizes());
  return all.update.defined() ? edit_dense(weight, all.update * fade) : EditReport{};
}

// The forward pass refuses these as well.
void check_scales(const SiteSpec& site, const Collected& all) {
  const bool scaled = all.scale_input.defined() || all.scale_output.defined();
  if (scaled && site.kind == SiteKind::embedding) {
    throw Error(ErrorKind::input, "an embedding, which scales do not act on");
  }
  if (all.scale_input.defined() && site.kind == SiteKind::conv1d) {
    throw Error(ErrorKind::input, "a convolution's taps have no input scale");
  }
}

EditReport fold_site(Model& model, const SiteSpec& site, bool densify_allowed) {
  const Collected all = collect(model, site.name);
  check_scales(site, all);
  SiteWeight& weight = model.writable(site.name);
  EditReport report;
  note(report, fold_masks_and_updates(weight, all));
  if (all.scale_input.defined()) note(report, scale_columns(weight, all.scale_input, densify_allowed));
  if (all.scale_output.defined()) {
    note(report, scale_rows(weight, all.scale_output, densify_allowed));
    if (!site.bias.empty()) note(report, scale_rows(model.writable(site.bias), all.scale_output, densify_allowed));
  }
  report.rank = weight.rank();
  return report;
}

// The sites to fold, each bias before the site whose output scale is written into it: what is attached to the bias acts
// before the scale does, so a bias has to be folded whenever its site is.
std::vector<std::string> fold_order(const Model& model, const std::vector<std::string>& sites) {
  std::vector<std::string> order;
  const auto add = [&](const std::string& name) {
    if (!name.empty() && std::find(order.begin(), order.end(), name) == order.end()) order.push_back(name);
  };
  for (const std::string& name : sites) {
    if (collect(model, name).scale_output.defined()) add(model.site(name).bias);
    add(name);
  }
  return order;
}

}  // namespace

void permute(Model& model, const Symmetry& symmetry, const Tensor& order, ParameterState* state) {
  at::NoGradGuard guard;
  check_order(symmetry, order);
  check_members(model, symmetry);
  for (const SymmetryMember& member : symmetry.members) {
    permute_member(model, member, axis_index(model, symmetry, member, order), state);
  }
}

FoldReport fold_adapters(Model& model, const std::vector<std::string>& sites, bool densify_allowed) {
  at::NoGradGuard guard;
  FoldReport report;
  for (const std::string& name : fold_order(model, sites)) {
    if (model.adapters_of(name).empty()) continue;
    try {
      report.sites[name] = fold_site(model, model.site(name), densify_allowed);
    } catch (const Error& error) {
      throw Error(error.kind(), "site '" + name + "': " + error.what());
    }
    std::set<std::string> types;
    for (const AttachedAdapter* attached : model.adapters_of(name)) types.insert(attached->adapter->type());
    for (const std::string& type : types) model.detach(name, type);
  }
  return report;
}

}  // namespace colonnade
