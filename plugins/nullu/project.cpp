#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/calibration.h"
#include "colonnade/tensor/editing.h"
#include "ops.h"
#include "pairs.h"

namespace colonnade::nullu {

namespace {

Tensor matrix_of(const SiteWeight& weight) {
  return effective_weight(weight).to(at::kDouble).reshape({weight.sparse.size(0), -1});
}

// What a site gives beyond its bias, and the bias, seen from the subspace: ‖V_kᵀ [W b]‖, or ‖W V_k‖.
double inside(const Model& model, const SiteSpec& site, Side side, const Tensor& basis) {
  const Tensor matrix = matrix_of(model.weight(site.name));
  if (side == Side::input) return at::matmul(matrix, basis).norm().item<double>();
  double squares = at::matmul(basis.t(), matrix).square().sum().item<double>();
  if (!site.bias.empty())
    squares += at::matmul(basis.t(), matrix_of(model.weight(site.bias))).square().sum().item<double>();
  return std::sqrt(squares);
}

EditReport remove(Model& model, const SiteSpec& site, Side side, const Tensor& basis) {
  SiteWeight& weight = model.writable(site.name);
  const Tensor matrix = matrix_of(weight);
  if (side == Side::input) return edit_low_rank(weight, -at::matmul(matrix, basis), basis);
  const EditReport edit = edit_low_rank(weight, -basis, at::matmul(matrix.t(), basis));
  if (site.bias.empty()) return edit;
  SiteWeight& bias = model.writable(site.bias);
  const Tensor vector = matrix_of(bias);
  edit_dense(bias, -at::matmul(basis, at::matmul(basis.t(), vector)).to(bias.sparse.scalar_type()));
  return edit;
}

}  // namespace

Value contrasts(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  const auto names = selected_names(chosen_sites(context, model, "*.out_proj,*.fc2"));
  const Side side = context.param<std::string>("side") == "input" ? Side::input : Side::output;
  const Positions positions = context.param<std::string>("positions") == "last" ? Positions::last : Positions::mean;
  const Contrasts found = collect_contrasts(model, names, calibration_batches(context, "truthful", model.dtype()),
                                            calibration_batches(context, "misleading", model.dtype()), side, positions);
  Table spectrum;
  spectrum.add_column("site", "text");
  spectrum.add_column("layer", "integer");
  spectrum.add_column("index", "integer");
  spectrum.add_column("singular_value", "real");
  for (const std::string& name : names) {
    const Tensor singular = at::linalg_svdvals(found.sites.at(name).difference);
    for (std::int64_t i = 0; i < singular.numel(); ++i) {
      spectrum.add_row({name, model.site(name).layer, i, singular[i].item<double>()});
    }
  }
  Value value;
  value.fields["contrasts"] = to_field(found);
  value.fields["spectrum"] = to_field(spectrum);
  return value;
}

Value project(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const Contrasts found = contrasts_from(context.input("contrasts"));
  std::vector<std::string> names;
  for (const SiteSpec& site : source.sites()) {
    if (found.sites.contains(site.name)) names.push_back(site.name);
  }
  if (names.size() != found.sites.size())
    throw Error(ErrorKind::input, "the contrasts are of sites that the model does not have; collect them with it");
  SubspaceRule rule;
  if (context.has_param("rank")) rule.rank = context.param<std::int64_t>("rank");
  rule.energy = context.param<double>("energy");
  rule.squares = context.param<std::string>("spectrum") == "squares";
  rule.centring = context.param<double>("centring");

  Model model = editable_copy(source, names, found.side == Side::output);
  Table report = edit_table(
      {{"k", "integer"}, {"energy", "real"}, {"inside_before", "real"}, {"left", "real"}, {"skipped", "text"}});
  std::size_t skipped = 0;
  for (const std::string& name : names) {
    const SiteSpec& site = model.site(name);
    const Subspace subspace = subspace_of(found.sites.at(name), rule);
    const std::int64_t dimension = found.side == Side::output ? site.rows() : site.columns();
    if (subspace.basis.size(0) != dimension) {
      throw Error(ErrorKind::input, "the contrasts of site '" + name + "' have " +
                                        std::to_string(subspace.basis.size(0)) + " dimensions, the site " +
                                        std::to_string(dimension));
    }
    if (subspace.basis.size(1) == 0) {
      EditReport untouched;
      untouched.rank = model.weight(name).rank();
      add_edit(report, site, untouched, {0, 0.0, 0.0, 0.0, "it gives the same for both sides of every pair"});
      ++skipped;
      continue;
    }
    const double before = inside(model, site, found.side, subspace.basis);
    const EditReport edit = remove(model, site, found.side, subspace.basis);
    const double after = inside(model, site, found.side, subspace.basis);
    add_edit(report, site, edit,
             {subspace.basis.size(1), subspace.energy, before, before > 0 ? after / before : 0.0, ""});
  }
  if (skipped == names.size()) {
    throw Error(ErrorKind::input, "site '" + names.front() + "'" +
                                      (skipped > 1 ? " and all others of the contrasts" : "") +
                                      " gives the same for both sides of every pair: there is no direction to remove");
  }
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  return value;
}

}  // namespace colonnade::nullu
