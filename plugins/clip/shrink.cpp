// Takes hidden units that contribute nothing out of both towers, so that what a structured drop left is really smaller.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "architecture.h"
#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/editing.h"
#include "ops.h"

namespace colonnade::clip {
namespace {

constexpr Side kSides[] = {Side::text, Side::vision};

std::string mlp_of(Side side, std::int64_t layer) {
  return layer_prefix(side, layer) + "mlp.";
}

Tensor any_number(const Tensor& matrix, int axis) {
  return (matrix != 0).any(axis);
}

/// Which units of an MLP give something: neither activation moves zero, so one without inputs and bias gives nothing,
/// as does one that nothing reads.
Tensor busy_units(const Model& model, const std::string& mlp) {
  const Tensor in = effective_weight(model.weight(mlp + "fc1")),
               bias = effective_weight(model.weight(mlp + "fc1.bias"));
  const Tensor out = effective_weight(model.weight(mlp + "fc2"));
  return any_number(in, 1).logical_or(bias != 0).logical_and(any_number(out, 0));
}

/// The first `wanted` units, busy ones before idle ones, in the order they had.
Tensor kept_units(const Tensor& busy, std::int64_t wanted) {
  const Tensor by_use = busy.logical_not().to(at::kLong).argsort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  return std::get<0>(by_use.narrow(0, 0, wanted).sort());
}

std::vector<std::string> names_of(const Model& model) {
  std::vector<std::string> names;
  for (const SiteSpec& site : model.sites()) names.push_back(site.name);
  return names;
}

Value shrink(OpContext& context) {
  const at::NoGradGuard no_gradients;
  const Model given = Model::from_field(context.input("model"));
  if (dynamic_cast<const Clip*>(&given.architecture()) == nullptr) {
    throw Error(ErrorKind::input, "the model is no CLIP model, whose hidden units this op knows");
  }
  const Model source = editable_copy(given, names_of(given));
  Configuration configuration = configuration_from(source.configuration());
  Table report;
  for (const char* name : {"tower", "layer", "hidden", "busy", "kept"})
    report.add_column(name, std::string(name) == "tower" ? "text" : "integer");
  std::map<std::string, Tensor> kept;
  std::int64_t before = 0, after = 0;
  for (const Side side : kSides) {
    Tower& tower = side == Side::text ? configuration.text : configuration.vision;
    std::vector<Tensor> busy;
    std::int64_t wanted = 1;
    for (std::int64_t layer = 0; layer < tower.layers; ++layer) {
      busy.push_back(busy_units(source, mlp_of(side, layer)));
      wanted = std::max(wanted, busy.back().sum().item<std::int64_t>());
    }
    for (std::int64_t layer = 0; layer < tower.layers; ++layer) {
      const Tensor& units = busy[static_cast<std::size_t>(layer)];
      for (const char* name : {"fc1", "fc1.bias", "fc2"}) kept[mlp_of(side, layer) + name] = kept_units(units, wanted);
      report.add_row({side_name(side), layer, tower.hidden, units.sum().item<std::int64_t>(), wanted});
      before += tower.hidden;
      after += wanted;
    }
    tower.hidden = wanted;
  }
  Model model(std::make_shared<const Clip>(), to_json(configuration));
  for (const SiteSpec& site : source.sites()) {
    SiteWeight weight = source.weight(site.name);
    const auto units = kept.find(site.name);
    if (units != kept.end()) reindex(weight, site.name.ends_with("fc2") ? 1 : 0, units->second);
    model.set_weight(site.name, std::move(weight));
    model.set_site_trainable(site.name, source.site_trainable(site.name));
  }
  const double share = before > 0 ? 1 - static_cast<double>(after) / static_cast<double>(before) : 0;
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  value.fields["removed"] = to_field(Scalar{share, before, {}, "", Better::neither, {}});
  return value;
}

}  // namespace

void declare_shrink(Registrar& registrar) {
  registrar.op("shrink")
      .doc(
          "Takes hidden units that contribute nothing out of a CLIP model.\n"
          "A unit of an MLP is idle if nothing reads it (its column of fc2 is zero in all of W = R + S + U V^T) or "
          "nothing moves it (its row of fc1 and its bias are zero: both activations keep zero). All layers of a tower "
          "stay equally wide, so a layer with fewer busy units than another keeps some idle ones; `exact_count` of "
          "`dare` drops as many in each. Reference, mask and low-rank part are cut with the weight; adapters are "
          "folded "
          "in, hooks given up, since what they remember has other sizes. Outputs stay, up to rounding.")
      .example(
          "local small = model:dare { of = \"weights\", strategy = \"structured\", structure = \"hidden\", exact_count "
          "= "
          "true }:shrink {}")
      .input("model", "model", "a CLIP model")
      .output("model", "model", "with fewer hidden units")
      .output("report", "table", "for each layer: hidden units, those that are busy, those kept")
      .output("removed", "scalar", "share of all hidden units that is gone")
      .run(shrink);
}

}  // namespace colonnade::clip
