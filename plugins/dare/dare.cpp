#include "dare.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/calibration.h"

namespace colonnade::dare {

namespace {

DareOptions options_of(const OpContext& context) {
  const std::map<std::string, Strategy> strategies = {
      {"uniform", Strategy::uniform}, {"magnitude", Strategy::magnitude}, {"structured", Strategy::structured}};
  const std::map<std::string, Rescale> rescales = {{"inverse_keep", Rescale::inverse_keep},
                                                   {"l1", Rescale::l1},
                                                   {"fitted", Rescale::fitted},
                                                   {"none", Rescale::none}};
  DareOptions options;
  options.strategy = strategies.at(context.param<std::string>("strategy"));
  options.rescale = rescales.at(context.param<std::string>("rescale"));
  options.rate = context.param<double>("drop_rate");
  options.exact = context.param<bool>("exact_count");
  options.low_rank = context.param<bool>("low_rank");
  options.structure = context.param<std::string>("structure");
  options.random = context.random();
  if (options.low_rank && options.strategy != Strategy::structured) {
    throw Error(
        ErrorKind::usage,
        "low_rank = true drops rows and columns of U Vᵀ with those of S, so it needs strategy = \"structured\"; "
        "single elements of factors are none of the weight's");
  }
  if (options.rescale == Rescale::fitted && !context.has_input("data")) {
    throw Error(ErrorKind::usage, "rescale = \"fitted\" compares outputs and needs the input `data`");
  }
  return options;
}

// The sites that differ from a reference; in a model without one, what its layers multiply with.
std::string default_sites(const Model& model) {
  std::string names;
  for (const SiteSpec& site : model.sites()) {
    if (model.weight(site.name).has_reference()) names += (names.empty() ? "" : ",") + site.name;
  }
  return names.empty() ? "kind:linear,kind:conv1d" : names;
}

double squared_difference(const Model& model, const std::vector<Batch>& batches, const std::vector<Tensor>& wanted) {
  double sum = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    sum += (model.forward(batches[i]).to(at::kDouble) - wanted[i]).square().sum().item<double>();
  }
  return sum;
}

// One scale for all sites: the survivors' total scale.
void fit(const OpContext& context, const Model& before, Model& model, std::vector<SiteDrop>& drops, bool low_rank) {
  const auto batches = calibration_batches(context, "data", model.dtype());
  std::vector<Tensor> wanted;
  for (const Batch& batch : batches) wanted.push_back(before.forward(batch).to(at::kDouble));
  std::vector<SiteWeight> unscaled;
  double rate = 0;
  for (const SiteDrop& drop : drops) {
    unscaled.push_back(model.weight(drop.site));
    rate = std::max(rate, drop.rate);
  }
  const auto scale_all = [&](double total) {
    for (std::size_t i = 0; i < drops.size(); ++i) {
      SiteWeight& weight = model.writable(drops[i].site);
      weight = unscaled[i];
      weight.sparse = weight.sparse.clone();
      rescale_site(weight, drops[i], total / drops[i].earlier_scale, low_rank);
    }
  };
  const double best = fit_scale(rate, [&](double total) {
    scale_all(total);
    return squared_difference(model, batches, wanted);
  });
  scale_all(best);
}

Table report_of(const Model& model, const std::vector<SiteDrop>& drops, const std::vector<Of>& of) {
  Table report = edit_table({{"of", "text"},
                             {"drop_rate", "real"},
                             {"dropped", "integer"},
                             {"sparsity", "real"},
                             {"factor", "real"},
                             {"scale", "real"},
                             {"continued", "bool"}});
  for (std::size_t i = 0; i < drops.size(); ++i) {
    const SiteDrop& drop = drops[i];
    const SiteSpec& site = model.site(drop.site);
    const std::int64_t elements = site.elements();
    add_edit(report, site, drop.edit,
             {of[i] == Of::delta ? "delta" : "weights", drop.rate, elements - drop.kept,
              1 - static_cast<double>(drop.kept) / static_cast<double>(elements), drop.factor, drop.total_scale(),
              drop.continued});
  }
  return report;
}

}  // namespace

double fit_scale(double rate, const std::function<double(double)>& difference) {
  constexpr int grid = 12, sections = 10;
  const double highest = rate < 1 ? std::log(1 / (1 - rate)) : 0;
  if (highest == 0) return 1;
  std::array<double, grid> at{}, found{};
  for (int i = 0; i < grid; ++i) {
    at[i] = highest * i / (grid - 1);
    found[i] = difference(std::exp(at[i]));
  }
  const auto best = std::min_element(found.begin(), found.end()) - found.begin();
  double low = at[static_cast<std::size_t>(std::max<std::ptrdiff_t>(best - 1, 0))];
  double high = at[static_cast<std::size_t>(std::min<std::ptrdiff_t>(best + 1, grid - 1))];
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double left = high - golden * (high - low), right = low + golden * (high - low);
  double at_left = difference(std::exp(left)), at_right = difference(std::exp(right));
  for (int i = 0; i < sections; ++i) {
    if (at_left <= at_right) {
      high = right;
      right = left;
      at_right = at_left;
      left = high - golden * (high - low);
      at_left = difference(std::exp(left));
    } else {
      low = left;
      left = right;
      at_left = at_right;
      right = low + golden * (high - low);
      at_right = difference(std::exp(right));
    }
  }
  // The grid's own best stands where sections found nothing better: at an end of the range.
  const double inner = at_left <= at_right ? left : right;
  return std::exp(
      std::min(at_left, at_right) < found[static_cast<std::size_t>(best)] ? inner : at[static_cast<std::size_t>(best)]);
}

Value drop_weights(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const DareOptions options = options_of(context);
  const auto names = selected_names(chosen_sites(context, source, default_sites(source)));
  std::vector<Of> of;
  for (const std::string& name : names) of.push_back(of_site(context, source, name));
  Model model = editable_copy(source, names);
  std::vector<EditReport> edits(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (of[i] == Of::weights) {
      SiteWeight weight = model.weight(names[i]);
      edits[i] = drop_reference(weight);
      model.set_weight(names[i], std::move(weight));
    }
    edits[i].rank = model.weight(names[i]).rank();
  }
  Past past = past_of(model);
  auto drops = drop_sites(model, names, options, past);
  if (options.rescale == Rescale::fitted) fit(context, source, model, drops, options.low_rank);
  double kept = 0, elements = 0, scale = 0;
  for (std::size_t i = 0; i < drops.size(); ++i) {
    SiteDrop& drop = drops[i];
    drop.edit = edits[i];
    require_finite(model.weight(drop.site).sparse,
                   "site '" + drop.site + "' after rescaling by " + std::to_string(drop.factor));
    past.rules[drop.site][rule_name(options)] = {drop.rate, drop.total_scale(), drop.threshold};
    const auto size = static_cast<double>(model.site(drop.site).elements());
    kept += static_cast<double>(drop.kept);
    elements += size;
    scale += drop.total_scale() * size;
  }
  set_past(model, past);
  const auto count = static_cast<std::int64_t>(elements);
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report_of(model, drops, of));
  value.fields["sparsity"] = to_field(Scalar{1 - kept / elements, count, {}, "", Better::higher, {}});
  value.fields["scale"] = to_field(Scalar{scale / elements, count, {}, "", Better::neither, {}});
  return value;
}

}  // namespace colonnade::dare
