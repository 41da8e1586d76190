#include <algorithm>
#include <cmath>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/model.h"
#include "convergence.h"
#include "flops.h"
#include "measured.h"

namespace colonnade {

namespace {

constexpr double percent = 100;

Field scalar(double value, std::int64_t n, const std::string& unit, Better better) {
  return to_field(Scalar{value, n, {}, unit, better, {}});
}

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

Value size(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  const Model::Counts counts = model.counts();
  std::int64_t masked = 0, zeros = 0, bytes = 0;
  for (const CostItem& item : count_flops(model, 1)) {
    if (!item.masked) continue;
    masked += item.elements;
    zeros += item.zeros;
  }
  for (const auto& [name, blob] : context.input("model").tensors) bytes += static_cast<std::int64_t>(blob.size());
  Value value;
  value.fields["parameters"] = scalar(static_cast<double>(counts.all), counts.all, "", Better::lower);
  value.fields["nonzero"] = scalar(static_cast<double>(counts.nonzero), counts.all, "", Better::lower);
  value.fields["trainable"] = scalar(static_cast<double>(counts.trainable), counts.all, "", Better::lower);
  value.fields["trainable_percent"] =
      scalar(percent * share(static_cast<double>(counts.trainable), static_cast<double>(counts.all)), counts.all, "%",
             Better::lower);
  value.fields["site_sparsity"] =
      scalar(share(static_cast<double>(zeros), static_cast<double>(masked)), masked, "", Better::higher);
  value.fields["model_sparsity"] =
      scalar(share(static_cast<double>(zeros), static_cast<double>(counts.all)), counts.all, "", Better::higher);
  value.fields["stored_bytes"] = scalar(static_cast<double>(bytes), counts.all, "B", Better::lower);
  return value;
}

Value flops(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  const auto length = context.param<std::int64_t>("length");
  const auto items = count_flops(model, length);
  double nominal = 0, executed = 0, masked = 0;
  for (const CostItem& item : items) {
    nominal += item.nominal;
    executed += item.executed;
    if (item.masked) masked += item.executed;
  }
  Table table;
  table.add_column("site", "text");
  table.add_column("layer", "integer");
  table.add_column("nominal", "real", "FLOP/token");
  table.add_column("executed", "real", "FLOP/token");
  table.add_column("share", "real", "%");
  table.add_column("sparsity", "real");
  for (const CostItem& item : items) {
    if (item.executed == 0) continue;
    table.add_row({item.name, item.layer >= 0 ? Json(item.layer) : Json(), item.nominal, item.executed,
                   percent * share(item.executed, executed),
                   share(static_cast<double>(item.zeros), static_cast<double>(item.elements))});
  }
  Value value;
  value.fields["nominal"] = scalar(nominal, length, "FLOP/token", Better::lower);
  value.fields["executed"] = scalar(executed, length, "FLOP/token", Better::lower);
  value.fields["masked_share"] = scalar(percent * share(masked, executed), length, "%", Better::neither);
  value.fields["sites"] = to_field(table);
  return value;
}

Value efficiency(OpContext& context) {
  const Scalar accuracy = scalar_from(context.input("accuracy"));
  const Scalar work = scalar_from(context.input("flops"));
  const Scalar parameters = scalar_from(context.input("parameters"));
  for (const auto& [name, value] : {std::pair{"flops", work.value}, {"parameters", parameters.value}}) {
    if (value > 0) continue;
    throw Error(ErrorKind::input,
                std::string("the input '") + name + "' (" + Json(value).dump() + ") must be above zero");
  }
  if (!(accuracy.value >= 0)) {
    throw Error(ErrorKind::input,
                "the input 'accuracy' (" + Json(accuracy.value).dump() + ") must be a number from zero on");
  }
  const double price = work.value * parameters.value;
  const double half_an_example = 0.5 / static_cast<double>(std::max<std::int64_t>(accuracy.n, 1));
  const double seen = accuracy.value > 0 ? accuracy.value : half_an_example;
  Value value;
  value.fields["efficiency"] = scalar(accuracy.value / price, accuracy.n, "", Better::higher);
  value.fields["log_efficiency"] = scalar(std::log(seen / price), accuracy.n, "", Better::higher);
  return value;
}

void declare_size(Registrar& registrar) {
  registrar.op("size")
      .doc(
          "Counts a model's parameters and bytes.\n"
          "parameters: elements of all weights (masked zeros count) and of adapters, logits of masks that are still "
          "learned included; nonzero: those that are not zero, logits left out, counted by "
          "zeros (\"nominal\"); trainable: what a training would change. site_sparsity is the share of masked zeros "
          "among the "
          "elements of the masked sites, model_sparsity among all parameters. stored_bytes: the bytes of all tensors "
          "as they lie "
          "in the store, uncompressed: zeros take their place like any number.")
      .example("local size = model:size {}")
      .input("model", "model", "what is counted")
      .output("parameters", "scalar", "elements of weights and adapters")
      .output("nonzero", "scalar", "of these, not zero (nominal)")
      .output("trainable", "scalar", "of these, trainable")
      .output("trainable_percent", "scalar", "trainable among all")
      .output("site_sparsity", "scalar", "masked zeros among the masked sites' elements")
      .output("model_sparsity", "scalar", "masked zeros among all parameters")
      .output("stored_bytes", "scalar", "bytes of all tensors, stored densely")
      .run(size);
}

void declare_flops(Registrar& registrar) {
  registrar.op("flops")
      .doc(
          "Counts the floating-point operations of a forward pass, per token.\n"
          "A multiply-add is two. A linear site costs 2 · rows · columns, its low-rank part and, where it has no mask, "
          "unmerged "
          "low-rank adapters 2 · r · (rows + columns), a scale, a bias and a norm's weight one an element, a "
          "convolution 2 · "
          "channels · width, a look-up nothing; the architecture adds what no site accounts for (the scan, norms, "
          "gates). What "
          "is done once a pass to form a weight is left out. nominal leaves out products with masked zeros; executed "
          "counts what "
          "the dense kernels compute, zeros included. masked_share is the part of executed that masks touch at all: no "
          "mask on "
          "these sites can save more.")
      .example("local cost = model:flops { length = 256 }")
      .input("model", "model", "what is counted")
      .output("executed", "scalar", "per token, by the dense kernels")
      .output("nominal", "scalar", "per token, masked zeros skipped")
      .output("masked_share", "scalar", "share of executed at masked sites: the cap on what their masks can save")
      .output("sites", "table", "by site and other work")
      .param(integer("length", "tokens in the sequence").range(1, std::nullopt).fall_back(256))
      .run(flops);
}

void declare_efficiency(Registrar& registrar) {
  registrar.op("efficiency")
      .doc(
          "Accuracy for what it costs: accuracy / (FLOPs per token · parameters).\n"
          "It grows without bound as models become empty, so it is to be read beside a unigram model's.")
      .example(
          "local e = col.efficiency { accuracy = quality.accuracy, flops = cost.executed, parameters = size.nonzero }")
      .input("accuracy", "scalar", "the task's accuracy")
      .input("flops", "scalar", "FLOPs per token")
      .input("parameters", "scalar", "parameters")
      .output("efficiency", "scalar", "accuracy / (FLOPs · parameters)")
      .output("log_efficiency", "scalar",
              "its natural logarithm; where nothing was right, of half an example that was, since zero has none")
      .run(efficiency);
}

void register_plugin(Registrar& registrar) {
  declare_size(registrar);
  declare_flops(registrar);
  declare_efficiency(registrar);
  declare_measured(registrar);
  declare_convergence(registrar);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
