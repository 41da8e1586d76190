#include <set>

#include "colonnade/error.h"
#include "colonnade/registry.h"
#include "colonnade/tensor/model.h"
#include "colonnade/tensor/selector.h"
#include "ops.h"

namespace colonnade {

namespace {

struct Attachment {
  std::string site, type;
};

// Site by site, each type of adapter once.
std::vector<Attachment> attachments(const OpContext& context, const Model& model) {
  std::set<std::string> wanted;
  if (context.has_param("sites")) {
    for (const std::string& name : selected_names(select_sites(model, context.param<std::string>("sites"))))
      wanted.insert(name);
  }
  std::vector<Attachment> result;
  for (const SiteSpec& site : model.sites()) {
    if (!wanted.empty() && !wanted.contains(site.name)) continue;
    std::set<std::string> seen;
    for (const AttachedAdapter* attached : model.adapters_of(site.name)) {
      const std::string type = attached->adapter->type();
      if (seen.insert(type).second) result.push_back({site.name, type});
    }
  }
  return result;
}

std::string measured_field(const OpContext& context, const Recipe& metric) {
  if (context.has_param("field")) return context.param<std::string>("field");
  const RegisteredOp* op = Registry::instance().find_op(metric.op);
  if (op == nullptr) throw Error(ErrorKind::usage, "the op '" + metric.op + "' of `metric` is not loaded");
  return op->schema.outputs.front().name;
}

}  // namespace

Value measure_contribution(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  const auto attached = attachments(context, model);
  if (attached.empty()) throw Error(ErrorKind::input, "the model has no adapter whose contribution could be measured");
  const Recipe metric = context.recipe_param("metric");
  const std::string field = measured_field(context, metric);
  const auto total = static_cast<std::int64_t>(attached.size()) + 1;
  const auto measure = [&](const Field& subject, std::int64_t done) {
    // One name for all, so that a metric that draws random numbers draws the same ones.
    const Value value = context.call(metric, {{"model", subject}, {"data", context.input("data")}}, "metric");
    context.progress(done, total, "adapters");
    return scalar_from(value.at(field));
  };
  const Scalar whole = measure(context.input("model"), 1);
  Table table;
  table.add_column("site", "text");
  table.add_column("layer", "integer");
  table.add_column("adapter", "text");
  table.add_column("change", "real", whole.unit);
  table.add_column("without", "real", whole.unit);
  std::int64_t done = 1;
  for (const Attachment& each : attached) {
    Model without = model.mutable_copy({each.site});
    without.detach(each.site, each.type);
    const Scalar left = measure(without.to_field(), ++done);
    table.add_row({each.site, model.site(each.site).layer, each.type.substr(0, each.type.find('@')),
                   left.value - whole.value, left.value});
  }
  Value value;
  value.fields["contribution"] = to_field(table);
  value.fields["whole"] = to_field(whole);
  return value;
}

}  // namespace colonnade
