#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include "calibration.h"
#include "colonnade/error.h"
#include "mask.h"
#include "ops.h"

namespace colonnade {

namespace {

enum class Scope { all, site, row };

// A site to mask, by the same division into elements, rows, columns or blocks that learned masks have.
struct Target {
  SelectedSite selection;
  std::shared_ptr<Adapter> division;
  Tensor scores;  // shaped like the division's logits
  Tensor keep;    // likewise, once decided

  MaskAdapter& mask() const { return static_cast<MaskAdapter&>(*division); }
};

std::string method_of(const OpContext& context) {
  return context.param<std::string>("method");
}

Scope scope_of(const OpContext& context, Granularity granularity) {
  const std::string scope = context.param<std::string>("scope");
  const bool by_row = scope == "row" || (scope == "method" && method_of(context) == "wanda");
  if (!by_row) return scope == "site" ? Scope::site : Scope::all;
  if (granularity == Granularity::element) return Scope::row;
  if (scope == "method") return Scope::all;
  throw Error(ErrorKind::usage,
              "scope = \"row\" compares the elements within a row, so it needs granularity = \"element\"");
}

Tensor element_scores(const Model& model, const SiteSpec& site, const std::string& method,
                      const std::map<std::string, Tensor>& norms, const RandomStream& random) {
  if (method == "random") return random_uniform(random.at(site.name), {site.rows(), site.columns()}, at::kDouble);
  Tensor size = model.weight(site.name).sparse.to(at::kDouble).abs().reshape({site.rows(), site.columns()});
  if (method == "magnitude") return size;
  Tensor norm = norms.at(site.name);
  return size * (site.kind == SiteKind::conv1d ? norm.reshape({-1, 1}) : norm.reshape({1, -1}));
}

void decide_rows(Target& target, double sparsity) {
  Tensor governed = target.mask().governed();
  target.keep = at::ones(target.scores.sizes(), at::kBool);
  for (std::int64_t row = 0; row < target.scores.size(0); ++row) {
    target.keep[row].copy_(keep_highest({target.scores[row]}, {governed[row]}, sparsity).front());
  }
}

void decide_all(std::vector<Target>& targets, Scope scope, double sparsity) {
  if (scope == Scope::row) {
    for (Target& target : targets) decide_rows(target, sparsity);
    return;
  }
  std::vector<Tensor> scores, governed;
  for (const Target& target : targets) {
    scores.push_back(target.scores);
    governed.push_back(target.mask().governed());
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (scope == Scope::site) targets[i].keep = keep_highest({scores[i]}, {governed[i]}, sparsity).front();
  }
  if (scope == Scope::site) return;
  const auto keeps = keep_highest(scores, governed, sparsity);
  for (std::size_t i = 0; i < targets.size(); ++i) targets[i].keep = keeps[i];
}

std::vector<Target> make_targets(const OpContext& context, const Model& model,
                                 const std::vector<SelectedSite>& selection,
                                 const std::map<std::string, Tensor>& norms) {
  MaskOptions options;
  options.granularity = granularity_from(context.param<std::string>("granularity"));
  options.block_rows = context.param<std::int64_t>("block_rows");
  options.block_columns = context.param<std::int64_t>("block_columns");
  const RandomStream scores = context.random().at("scores");
  std::vector<Target> targets;
  for (const SelectedSite& selected : selection) {
    const SiteSpec& site = model.site(selected.name);
    Target target{
        selected, make_mask(site, selected, options, 0, at::kDouble, context.random().at("division")), {}, {}};
    target.division->bind(site);
    target.scores = pool(target.mask(), element_scores(model, site, method_of(context), norms, scores));
    targets.push_back(std::move(target));
  }
  return targets;
}

}  // namespace

Value mask_fixed(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const auto selection = chosen_sites(context, source, sites_to_mask(source));
  const auto names = selected_names(selection);
  const auto batches = calibration_of(context, source.dtype());
  std::map<std::string, Tensor> norms;
  if (method_of(context) == "wanda") {
    if (batches.empty())
      throw Error(ErrorKind::usage, "method = \"wanda\" weighs by activations and needs the input `data`");
    norms = input_norms(source, names, batches);
  }
  auto targets = make_targets(context, source, selection, norms);
  const Scope scope = scope_of(context, granularity_from(context.param<std::string>("granularity")));
  decide_all(targets, scope, context.param<double>("sparsity"));

  Model model = source.mutable_copy(names);
  double elements = 0, kept = 0;
  for (const Target& target : targets) {
    apply_mask(model.writable(target.selection.name), target.mask().spread(target.keep));
    Tensor governed = target.mask().governed();
    elements += governed.sum().item<double>();
    kept += (governed * target.keep).sum().item<double>();
  }
  std::map<std::string, double> losses;
  if (!batches.empty()) losses = cosine_losses(source, model, selection, batches);

  Table report;
  report.add_column("site", "text");
  report.add_column("layer", "integer");
  report.add_column("elements", "integer");
  report.add_column("sparsity", "real");
  report.add_column("cosine_loss", "real");
  for (const Target& target : targets) {
    const SiteSpec& site = model.site(target.selection.name);
    Tensor governed = target.mask().governed();
    const double all = governed.sum().item<double>();
    report.add_row({site.name, site.layer, static_cast<std::int64_t>(all),
                    1 - (governed * target.keep).sum().item<double>() / all,
                    losses.contains(site.name) ? Json(losses.at(site.name)) : Json()});
  }
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  value.fields["sparsity"] =
      to_field(Scalar{1 - kept / elements, static_cast<std::int64_t>(elements), {}, "", Better::higher, {}});
  return value;
}

}  // namespace colonnade
