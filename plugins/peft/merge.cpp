#include <set>

#include "colonnade/tensor/model.h"
#include "colonnade/tensor/selector.h"
#include "ops.h"

namespace colonnade {

namespace {

std::string plugin_of(const std::string& type) {
  return type.substr(0, type.find('/'));
}

std::set<std::string> adapter_plugins(const Model& model) {
  std::set<std::string> plugins;
  for (const AttachedAdapter& attached : model.adapters()) plugins.insert(plugin_of(attached.adapter->type()));
  return plugins;
}

// Sites with adapters, in the model's order.
std::vector<std::string> adapted_sites(const OpContext& context, const Model& model) {
  std::vector<std::string> chosen;
  if (context.has_param("sites")) {
    chosen = selected_names(select_sites(model, context.param<std::string>("sites")));
  } else {
    for (const SiteSpec& site : model.sites()) chosen.push_back(site.name);
  }
  std::erase_if(chosen, [&](const std::string& name) { return model.adapters_of(name).empty(); });
  return chosen;
}

std::string types_at(const Model& model, const std::string& site) {
  std::string types;
  for (const AttachedAdapter* attached : model.adapters_of(site))
    types += (types.empty() ? "" : ", ") + attached->adapter->type();
  return types;
}

}  // namespace

Value merge_adapters(OpContext& context) {
  const Model source = Model::from_field(context.input("model"));
  const auto sites = adapted_sites(context, source);
  Model model = source.mutable_copy();
  Table report;
  report.add_column("site", "text");
  report.add_column("layer", "integer");
  report.add_column("adapters", "text");
  report.add_column("low_rank", "bool");
  report.add_column("rank", "integer");
  report.add_column("gave_up_mask", "bool");
  report.add_column("requested_norm", "real");
  report.add_column("lost_norm", "real");
  const FoldReport folded = fold_adapters(model, sites, context.param<bool>("densify"));
  for (const SiteSpec& site : model.sites()) {
    const auto found = folded.sites.find(site.name);
    if (found == folded.sites.end()) continue;
    const EditReport& edit = found->second;
    report.add_row({site.name, site.layer, types_at(source, site.name), edit.low_rank, edit.rank, edit.gave_up_mask,
                    edit.requested_norm, edit.lost_norm});
  }
  // A hook that governs a plugin's adapters has nothing left to do once the last of them is folded.
  const auto before = adapter_plugins(source), after = adapter_plugins(model);
  for (const std::string& plugin : before) {
    if (!after.contains(plugin)) model.remove_hooks(plugin + "/");
  }
  if (context.param<bool>("trainable")) model.set_sites_trainable(true);
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  return value;
}

}  // namespace colonnade
