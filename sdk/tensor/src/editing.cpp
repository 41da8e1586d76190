#include "colonnade/tensor/editing.h"

#include <ATen/Functions.h>

#include <set>

#include "colonnade/error.h"

namespace colonnade {

namespace {

std::set<std::string> adapter_plugins(const Model& model) {
  std::set<std::string> plugins;
  for (const AttachedAdapter& attached : model.adapters()) {
    const std::string type = attached.adapter->type();
    plugins.insert(type.substr(0, type.find('/')));
  }
  return plugins;
}

}  // namespace

Param of_param() {
  return choice("of", {"delta", "weights"},
                "what is changed: the difference from the reference, or the whole weight; by default the difference "
                "where a site has a reference")
      .optional();
}

Of of_site(const OpContext& context, const Model& model, const std::string& site) {
  const bool has_reference = model.weight(site).has_reference();
  if (!context.has_param("of")) return has_reference ? Of::delta : Of::weights;
  if (context.param<std::string>("of") == "weights") return Of::weights;
  if (has_reference) return Of::delta;
  throw Error(ErrorKind::usage, "of = \"delta\" works on the difference from a reference, and site '" + site +
                                    "' has none; set one with model:relative_to { base = ... }, or say of = "
                                    "\"weights\"");
}

Model editable_copy(const Model& source, const std::vector<std::string>& sites, bool biases) {
  std::vector<std::string> wanted = sites;
  for (const std::string& site : sites) {
    const std::string& bias = source.site(site).bias;
    // Folding a scale of outputs writes the bias.
    if (!bias.empty() && (biases || !source.adapters_of(site).empty())) wanted.push_back(bias);
  }
  Model model = source.mutable_copy(wanted);
  const auto before = adapter_plugins(model);
  fold_adapters(model, wanted);
  const auto after = adapter_plugins(model);
  for (const std::string& plugin : before) {
    if (!after.contains(plugin)) model.remove_hooks(plugin + "/");
  }
  return model;
}

EditReport drop_reference(SiteWeight& weight) {
  EditReport report;
  report.rank = weight.rank();
  if (!weight.has_reference()) return report;
  weight.sparse = (weight.reference + weight.sparse).detach();
  weight.reference = Tensor();
  if (!weight.has_mask()) return report;
  const bool zeros_hold = !at::logical_and(weight.sparse != 0, at::logical_not(weight.mask)).any().item<bool>();
  if (zeros_hold) return report;
  weight.mask = Tensor();
  report.gave_up_mask = true;
  return report;
}

void require_finite(const SiteWeight& weight, const std::string& site) {
  require_finite(weight.reference, "the reference of site '" + site + "'");
  require_finite(weight.sparse, "the weight of site '" + site + "'");
  require_finite(weight.u, "the low-rank part of site '" + site + "'");
  require_finite(weight.v, "the low-rank part of site '" + site + "'");
}

Table edit_table(const std::vector<std::pair<std::string, std::string>>& own_columns) {
  Table table;
  table.add_column("site", "text");
  table.add_column("layer", "integer");
  table.add_column("rows", "integer");
  table.add_column("columns", "integer");
  table.add_column("low_rank", "bool");
  table.add_column("rank", "integer");
  table.add_column("gave_up_mask", "bool");
  table.add_column("requested_norm", "real");
  table.add_column("lost_norm", "real");
  for (const auto& [name, type] : own_columns) table.add_column(name, type);
  return table;
}

void add_edit(Table& table, const SiteSpec& site, const EditReport& edit, const std::vector<Json>& own_cells) {
  std::vector<Json> cells = {site.name, site.layer,        site.rows(),         site.columns(), edit.low_rank,
                             edit.rank, edit.gave_up_mask, edit.requested_norm, edit.lost_norm};
  cells.insert(cells.end(), own_cells.begin(), own_cells.end());
  table.add_row(cells);
}

}  // namespace colonnade
