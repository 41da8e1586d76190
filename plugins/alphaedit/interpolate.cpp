#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <sstream>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/calibration.h"
#include "colonnade/tensor/editing.h"
#include "ops.h"

namespace colonnade::alphaedit {

namespace {

constexpr double kShrink = 0.9, kGrow = 1.1, kMost = 1;

struct Interpolation {
  std::vector<std::string> names;
  std::vector<std::map<std::string, Tensor>> tasks;  // τ by site
  std::vector<double> by_layer;                      // α of a layer; empty: 1
  double outside = 1;                                // ... of sites outside the layers
};

double layer_share(const Interpolation& plan, const SiteSpec& site) {
  if (site.layer < 0 || plan.by_layer.empty()) return plan.by_layer.empty() ? 1 : plan.outside;
  return plan.by_layer.at(static_cast<std::size_t>(site.layer));
}

// W₀ + Σ α τ on the chosen sites of `model`, a copy of W₀ that may be written.
std::map<std::string, EditReport> apply(const Interpolation& plan, const Model& start, Model& model,
                                        const std::vector<double>& alphas) {
  std::map<std::string, EditReport> edits;
  for (const std::string& name : plan.names) {
    SiteWeight& weight = model.writable(name);
    weight = start.weight(name);
    Tensor change = at::zeros_like(weight.sparse);
    for (std::size_t i = 0; i < alphas.size(); ++i) {
      change.add_(plan.tasks[i].at(name), alphas[i] * layer_share(plan, model.site(name)));
    }
    edits[name] = edit_dense(weight, change);
  }
  return edits;
}

double loss_of(const Model& model, const std::vector<Batch>& batches) {
  double sum = 0;
  for (const Batch& batch : batches) sum += model.loss(batch).item<double>();
  return sum / static_cast<double>(batches.size());
}

Interpolation plan_of(const OpContext& context, const Model& start, const std::vector<std::string>& names) {
  Interpolation plan{names, {}, {}, context.param<double>("outside")};
  for (const Json& share : context.params().at("by_layer")) plan.by_layer.push_back(share.get<double>());
  int layers = 0;
  for (const SiteSpec& site : start.sites()) layers = std::max(layers, site.layer + 1);
  if (!plan.by_layer.empty() && plan.by_layer.size() != static_cast<std::size_t>(layers)) {
    throw Error(ErrorKind::usage, "by_layer has " + std::to_string(plan.by_layer.size()) + " numbers; the model has " +
                                      std::to_string(layers) + " layers");
  }
  for (const Field* field : context.inputs("tasks")) {
    const Model source = Model::from_field(*field);
    const bool same =
        source.architecture().type() == start.architecture().type() && source.configuration() == start.configuration();
    if (!same) {
      throw Error(ErrorKind::input, "task " + std::to_string(plan.tasks.size() + 1) + " is a " +
                                        source.architecture().type() + " " + source.configuration().dump() +
                                        "; a task vector has the model's own structure");
    }
    const Model task = source.adapters().empty() ? source : editable_copy(source, names);
    auto& vectors = plan.tasks.emplace_back();
    for (const std::string& name : names)
      vectors[name] = effective_weight(task.weight(name)) - effective_weight(start.weight(name));
  }
  return plan;
}

std::vector<double> alphas_of(const OpContext& context, std::size_t tasks) {
  std::vector<double> alphas;
  for (const Json& alpha : context.params().at("alphas")) alphas.push_back(alpha.get<double>());
  if (alphas.size() == 1) alphas.assign(tasks, alphas.front());
  if (alphas.size() == tasks) return alphas;
  throw Error(ErrorKind::usage, "alphas has " + std::to_string(alphas.size()) + " numbers for " +
                                    std::to_string(tasks) + " tasks; give one for all, or one for each");
}

Table path_table(std::size_t tasks) {
  Table path;
  path.add_column("step", "integer");
  path.add_column("loss", "real");
  for (std::size_t i = 0; i < tasks; ++i) path.add_column("alpha_" + std::to_string(i + 1), "real");
  return path;
}

void note(Table& path, std::int64_t step, double loss, const std::vector<double>& alphas) {
  std::vector<Json> cells = {step, loss};
  cells.insert(cells.end(), alphas.begin(), alphas.end());
  path.add_row(cells);
}

// The tasks take turns: α shrinks where the loss rose since the last step, and grows where it fell. The best seen wins.
std::vector<double> adapt(OpContext& context, const Interpolation& plan, const Model& start, Model& model,
                          std::vector<double> alphas, Table& path) {
  const auto batches = calibration_batches(context, "data", start.dtype());
  const auto steps = context.param<std::int64_t>("steps");
  double last = loss_of(start, batches), least = last;
  std::vector<double> best(alphas.size(), 0.0);
  note(path, 0, last, best);
  for (std::int64_t step = 1; step <= steps; ++step) {
    apply(plan, start, model, alphas);
    const double loss = loss_of(model, batches);
    note(path, step, loss, alphas);
    if (loss < least) {
      least = loss;
      best = alphas;
    }
    double& alpha = alphas[static_cast<std::size_t>(step - 1) % alphas.size()];
    if (loss > last) alpha *= kShrink;
    if (loss < last) alpha = std::min(kMost, alpha * kGrow);
    last = loss;
    context.progress(step, steps, "steps", {{"loss", loss}});
  }
  return best;
}

Value interpolate(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const auto names = selected_names(chosen_sites(context, source, "all"));
  const Model start = editable_copy(source, names);
  const Interpolation plan = plan_of(context, start, names);
  std::vector<double> alphas = alphas_of(context, plan.tasks.size());
  Model model = start.mutable_copy(names);
  Table path = path_table(plan.tasks.size());
  if (context.param<bool>("adaptive")) {
    if (!context.has_input("data"))
      throw Error(ErrorKind::usage, "adaptive = true follows the loss on the input `data`, which is missing");
    alphas = adapt(context, plan, start, model, alphas, path);
  }
  const auto edits = apply(plan, start, model, alphas);
  Table report = edit_table({{"layer_share", "real"}});
  for (const std::string& name : names)
    add_edit(report, model.site(name), edits.at(name), {layer_share(plan, model.site(name))});
  Table chosen;
  chosen.add_column("task", "integer");
  chosen.add_column("alpha", "real");
  for (std::size_t i = 0; i < alphas.size(); ++i) chosen.add_row({static_cast<std::int64_t>(i + 1), alphas[i]});
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  value.fields["alphas"] = to_field(chosen);
  value.fields["path"] = to_field(path);
  return value;
}

}  // namespace

void declare_interpolate(Registrar& registrar) {
  OpDeclaration& op = registrar.op("interpolate");
  op.doc(
        "Adds task vectors to a model: W <- W_0 + sum of alpha_i tau_i, tau_i = W_i - W_0.\n"
        "Several tasks, one alpha each, times a share for each layer. adaptive: starting from the given alphas, each "
        "step "
        "measures the loss on the data; the tasks take turns, and alpha shrinks by 0.9 where the loss rose since the "
        "last "
        "step, grows by 1.1 up to 1 where it fell; the first step is compared with W_0. The best alphas seen are "
        "taken, 0 "
        "among them. What a mask of W_0 drops stays dropped, and the report says how much that cost. Source of task "
        "vectors: Ilharco et al., Editing Models with Task Arithmetic, 2023.")
      .example("local both = base:interpolate { tasks = { digits, letters }, alphas = { 0.4, 0.6 } }")
      .input("model", "model", "W_0")
      .many_input("tasks", "model", "W_i: what was trained from it")
      .optional_input("data", "any", "a text or examples; validation data for `adaptive`")
      .output("model", "model", "W")
      .output("report", "table", "for each site: share of its layer, norm of the change and of what a mask refused")
      .output("alphas", "table", "alpha of each task")
      .output("path", "table", "adaptive: loss and alphas at each step; step 0 is W_0")
      .param(list("alphas", ParamType::real, "one for all tasks, or one for each").fall_back(Json::array({1.0})))
      .param(list("by_layer", ParamType::real, "shares by layer, from the first; by default 1 everywhere")
                 .fall_back(Json::array()))
      .param(real("outside", "share of sites outside the layers, where by_layer is given").fall_back(1.0))
      .param(boolean("adaptive", "follow the loss").fall_back(false))
      .param(integer("steps", "of adaptive").range(1, std::nullopt).fall_back(20))
      .param(sites("sites", "what is changed; by default all").optional());
  constexpr std::int64_t few_batches = 32;
  op.param(samples_param(few_batches)).param(length_param()).run(interpolate);
}

}  // namespace colonnade::alphaedit
