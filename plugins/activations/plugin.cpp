#include "colonnade/colonnade.h"
#include "colonnade/tensor/calibration.h"
#include "colonnade/tensor/selector.h"
#include "colonnade/tensor/statistics.h"

namespace colonnade {

namespace {

constexpr std::int64_t usual_samples = 64;

Value collect_covariance(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  const auto names = selected_names(chosen_sites(context, model, "kind:linear"));
  const Statistics statistics = collect_statistics(model, names, calibration_batches(context, "data", model.dtype()));
  Table report;
  report.add_column("site", "text");
  report.add_column("layer", "integer");
  report.add_column("inputs", "integer");
  report.add_column("positions", "integer");
  report.add_column("mean_square", "real");
  for (const std::string& name : names) {
    const SiteSpec& site = model.site(name);
    const SiteStatistics& found = statistics.at(site);
    report.add_row({name, site.layer, site.columns(), found.count,
                    found.gram.trace().item<double>() / static_cast<double>(found.count * site.columns())});
  }
  Value value;
  value.fields["statistics"] = to_field(statistics);
  value.fields["report"] = to_field(report);
  return value;
}

void register_plugin(Registrar& registrar) {
  registrar.op("covariance")
      .doc(
          "Collects second moments of what linear sites are given, over some data.\n"
          "For each site K K^T, the sum of x x^T over all positions, x [columns] its input, in f64; not centred, not "
          "divided by the count. Truncation weighs errors by it, editing keeps its null space.")
      .example("local seen = base:covariance { data = text.valid, samples = 128 }")
      .input("model", "model", "whose activations")
      .input("data", "any", "a text or examples")
      .output("statistics", "statistics", "K K^T by site")
      .output("report", "table", "for each site: inputs, positions seen, mean square of an input")
      .param(sites("sites", "whose inputs; by default kind:linear").optional())
      .param(samples_param(usual_samples))
      .param(length_param())
      .run(collect_covariance);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
