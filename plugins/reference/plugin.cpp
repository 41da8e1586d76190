#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/editing.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

namespace colonnade {

namespace {

void require_same_architecture(const Model& model, const Model& base) {
  if (model.architecture().type() == base.architecture().type() && model.configuration() == base.configuration()) {
    return;
  }
  throw Error(ErrorKind::input, "the base is a " + base.architecture().type() + " " + base.configuration().dump() +
                                    ", the model a " + model.architecture().type() + " " +
                                    model.configuration().dump() + "; a reference has the model's own structure");
}

double norm_of(const Tensor& tensor) {
  return tensor.to(at::kDouble).norm().item<double>();
}

Value set_references(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const Model base_source = Model::from_field(context.input("base"));
  require_same_architecture(source, base_source);
  const auto names = selected_names(chosen_sites(context, source, "all"));
  // Weights of a base without adapters stay the stored ones, which references then share.
  const Model base = base_source.adapters().empty() ? base_source : editable_copy(base_source, names);
  Model model = editable_copy(source, names);
  Table report = edit_table({{"norm", "real"}, {"difference", "real"}});
  for (const std::string& name : names) {
    SiteWeight& weight = model.writable(name);
    const EditReport edit = set_reference(weight, effective_weight(base.weight(name)));
    require_finite(weight, name);
    Tensor difference = effective_weight(weight) - weight.reference;
    add_edit(report, model.site(name), edit, {norm_of(weight.reference), norm_of(difference)});
  }
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  return value;
}

void register_plugin(Registrar& registrar) {
  registrar.op("relative_to")
      .doc(
          "Keeps each weight as a reference plus the difference from it, so that methods work on the difference.\n"
          "W = R + S + U V^T with R the base's weight and S = W - R - U V^T, to rounding; the model's function stays "
          "the "
          "same. Compressors then act on S + U V^T by default (of = \"delta\"), which is zero where fine-tuning "
          "changed nothing. A mask of the model stays only where it still holds, that is where the base is zero too.")
      .example("local difference = tuned:relative_to { base = base }")
      .input("model", "model", "what was made from the base, by training for example")
      .input("base", "model", "the same architecture; what differences are from")
      .output("model", "model", "the same function, as base and difference")
      .output("report", "table", "for each site: norms of the base's weight and of the difference, masks given up")
      .param(sites("sites", "which weights get a reference; by default all").optional())
      .run(set_references);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
