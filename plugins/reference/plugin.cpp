#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/editing.h"
#include "retention.h"

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

Table gain_table(const Scalar& compressed, const Scalar& base, const Scalar& tuned, const Retention& found) {
  Table table;
  for (const char* name : {"base", "tuned", "compressed", "gain", "gain_error"}) {
    table.add_column(name, "real", compressed.unit);
  }
  table.add_column("paired", "bool");
  table.add_column("undefined", "text");
  table.add_row({base.value, tuned.value, compressed.value, found.gain, found.error ? Json(*found.error) : Json(),
                 found.paired, found.undefined});
  return table;
}

Value measure_retention(OpContext& context) {
  const Scalar compressed = scalar_from(context.input("compressed")), base = scalar_from(context.input("base")),
               tuned = scalar_from(context.input("tuned"));
  const Retention found = find_retention(compressed, base, tuned, context.param<double>("least_errors"));
  if (!found.undefined.empty()) context.log("undefined: " + found.undefined);
  Value value;
  value.fields["share"] = to_field(found.share);
  value.fields["of_tuned"] = to_field(found.of_tuned);
  value.fields["gain"] = to_field(gain_table(compressed, base, tuned, found));
  return value;
}

Value measure_drift(OpContext& context) {
  Value value;
  value.fields["change"] =
      to_field(find_drift(scalar_from(context.input("now")), scalar_from(context.input("before"))));
  return value;
}

void declare_retention(Registrar& registrar) {
  constexpr double kLeastErrors = 10;
  registrar.op("retention")
      .doc(
          "How much of what a task gained by tuning a compressed model keeps.\n"
          "(m_compressed - m_base) / (m_tuned - m_base), one metric on the same data three times: 1 the tuned model, 0 "
          "the base; the empty difference keeps nothing. Its standard error is of the differences by example, to first "
          "order, where the metric is a mean of examples, else from the three standard errors as if independent. "
          "Undefined (NaN, over no sample, with the reason in `gain`) unless the gain exceeds `least_errors` of its "
          "standard errors. Of a perplexity take the nats: a ratio of exponentials retains nothing in particular. A "
          "task that was not tuned for has no gain: see `drift`.")
      .example("local kept = small:zero_shot({ data = test }).top1:retention { base = base_top1, tuned = tuned_top1 }")
      .input("compressed", "scalar", "the compressed model's metric")
      .input("base", "scalar", "the same metric before tuning")
      .input("tuned", "scalar", "the same metric after tuning")
      .output("share", "scalar", "the share kept")
      .output("of_tuned", "scalar", "m_compressed / m_tuned, which the base does not enter")
      .output("gain", "table", "the metrics, the gain with its standard error, why the share is undefined")
      .param(real("least_errors", "standard errors that the gain must exceed")
                 .range(0, std::nullopt)
                 .fall_back(kLeastErrors))
      .run(measure_retention);
  registrar.op("drift")
      .doc(
          "How far a metric moved on a task that was not tuned for.\n"
          "m_now - m_before in the metric's unit, with the error of the differences by example where the metric is a "
          "mean of examples. Not averaged with retentions: there the empty difference, which moves nothing, would win.")
      .example("local moved = small:retrieval({ data = other }).text_r1:drift { before = base_r1 }")
      .input("now", "scalar", "the metric")
      .input("before", "scalar", "the same metric of what it is compared with")
      .output("change", "scalar", "the difference")
      .run(measure_drift);
}

void register_plugin(Registrar& registrar) {
  declare_retention(registrar);
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
