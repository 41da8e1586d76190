#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <set>

#include "calibration.h"
#include "colonnade/error.h"
#include "mask.h"
#include "ops.h"

namespace colonnade {

namespace {

bool reads_masks(const std::string& method) {
  return method == "sigma" || method == "logit_magnitude" || method == "mask_mean";
}

std::string measure_text(const std::string& method) {
  if (method == "sigma") return "mean sigma(L)";
  if (method == "logit_magnitude") return "mean |L|";
  if (method == "mask_mean") return "mean M";
  if (method == "gradient") return "mean |gradient|";
  return method == "weight_norm" ? "root mean square weight" : "random";
}

double weighted_mean(const Tensor& values, const Tensor& weights) {
  return (values.to(at::kDouble) * weights).sum().item<double>() / weights.sum().item<double>();
}

double mask_importance(MaskAdapter& mask, const std::string& method) {
  Tensor weights = mask.governed();
  Tensor logits = mask.logits().detach().to(at::kDouble);
  if (method == "sigma") return weighted_mean(at::sigmoid(logits), weights);
  if (method == "logit_magnitude") return weighted_mean(logits.abs(), weights);
  Tensor mean = mask.sampled_mean();
  if (mean.defined()) return weighted_mean(mean, weights);
  throw Error(ErrorKind::input, "the mask at site '" + mask.site().name +
                                    "' was never trained, so there is no mean of M; train the "
                                    "model first, or use method = \"sigma\"");
}

Tensor chosen_rows(const Tensor& matrix, const std::vector<Part>& rows) {
  if (rows.empty()) return matrix;
  std::vector<Tensor> parts;
  for (const Part& part : rows) parts.push_back(matrix.narrow(0, part.start, part.size));
  return at::cat(parts, 0);
}

struct Scored {
  std::string site;
  double importance = 0;
  std::int64_t elements = 0;
};

std::vector<Scored> score_by_masks(OpContext& context, const Model& model, const std::string& method) {
  const auto masks = masks_of(model);
  if (masks.empty()) {
    throw Error(ErrorKind::input, "method = \"" + method +
                                      "\" reads learned masks, and the model has none; attach some with `mask` and "
                                      "train, or use method = \"gradient\", \"weight_norm\" or \"random\"");
  }
  std::set<std::string> wanted;
  if (context.has_param("sites")) {
    for (const std::string& name : selected_names(select_sites(model, context.param<std::string>("sites"))))
      wanted.insert(name);
  }
  const bool all = wanted.empty();
  std::vector<Scored> result;
  for (MaskAdapter* mask : masks) {
    const std::string& name = mask->site().name;
    if (!all && wanted.erase(name) == 0) continue;
    result.push_back({name, mask_importance(*mask, method), mask->governed().sum().item<std::int64_t>()});
  }
  if (wanted.empty()) return result;
  throw Error(ErrorKind::input,
              "site '" + *wanted.begin() + "' has no learned mask, which method = \"" + method +
                  "\" needs; mask it too, narrow `sites`, or use method = \"gradient\", \"weight_norm\" or \"random\"");
}

std::vector<Scored> score_by_weights(OpContext& context, const Model& model, const std::string& method) {
  const auto selection = chosen_sites(context, model, default_scored_sites);
  std::map<std::string, Tensor> gradients;
  if (method == "gradient") {
    const auto batches = calibration_of(context, model.dtype());
    if (batches.empty()) throw Error(ErrorKind::usage, "method = \"gradient\" needs the input `data`");
    gradients = mean_gradients(model, selected_names(selection), batches);
  }
  const RandomStream draws = context.random().at("importance");
  std::vector<Scored> result;
  for (const SelectedSite& selected : selection) {
    const SiteSpec& site = model.site(selected.name);
    Tensor weight = effective_weight(model.weight(site.name)).to(at::kDouble).reshape({site.rows(), site.columns()});
    weight = chosen_rows(weight, selected.rows);
    Scored scored{site.name, 0, weight.numel()};
    if (method == "gradient") {
      scored.importance = chosen_rows(gradients.at(site.name), selected.rows).abs().mean().item<double>();
    } else if (method == "weight_norm") {
      scored.importance = weight.square().mean().sqrt().item<double>();
    } else {
      scored.importance = draws.at(site.name).uniform(0);
    }
    result.push_back(scored);
  }
  return result;
}

}  // namespace

Value score_importance(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  const std::string method = context.param<std::string>("method");
  const auto scored =
      reads_masks(method) ? score_by_masks(context, model, method) : score_by_weights(context, model, method);
  Table table;
  table.add_column("site", "text");
  table.add_column("layer", "integer");
  table.add_column("importance", "real");
  table.add_column("measure", "text");
  table.add_column("elements", "integer");
  for (const Scored& row : scored) {
    table.add_row({row.site, model.site(row.site).layer, row.importance, measure_text(method), row.elements});
  }
  Value value;
  value.fields["importance"] = to_field(table);
  return value;
}

}  // namespace colonnade
