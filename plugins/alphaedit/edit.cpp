#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/editing.h"
#include "colonnade/tensor/statistics.h"
#include "ops.h"
#include "shift.h"
#include "solve.h"

namespace colonnade::alphaedit {

namespace {

struct EditPlan {
  std::vector<Fact> facts;
  Statistics preserve;
  std::optional<Statistics> previous, held_out;
  ShiftOptions shift;
  double ridge = 0, epsilon = 0;
};

Tensor matrix_of(const SiteWeight& weight) {
  return effective_weight(weight).to(at::kDouble).reshape({weight.sparse.size(0), -1});
}

EditPlan plan_of(const OpContext& context) {
  EditPlan plan;
  plan.facts = facts_from(context.input("facts"));
  plan.preserve = statistics_from(context.input("preserve"));
  if (context.has_input("previous")) plan.previous = statistics_from(context.input("previous"));
  if (context.has_input("held_out")) plan.held_out = statistics_from(context.input("held_out"));
  plan.shift.steps = context.param<std::int64_t>("steps");
  plan.shift.step_size = context.param<double>("step_size");
  plan.shift.divergence = context.param<double>("divergence");
  plan.shift.decay = context.param<double>("decay");
  plan.shift.clamp = context.param<double>("clamp");
  plan.ridge = context.param<double>("ridge");
  plan.epsilon = context.param<double>("epsilon");
  return plan;
}

// Writes this site's share of what is still missing; the row of the report.
void edit_site(Model& model, const SiteSpec& site, const EditPlan& plan, std::int64_t sites_left, Table& report) {
  const Tensor& preserved = plan.preserve.at(site).gram;
  const NullSpace free = null_space_of(preserved, plan.epsilon, site.name);
  const Shift shift = find_shift(model, site.name, plan.facts, plan.shift);
  const Tensor residuals = shift.delta.to(at::kDouble).t() / static_cast<double>(sites_left);
  const Tensor earlier = plan.previous ? plan.previous->at(site).gram : Tensor();
  const Factors change = write_keys(residuals, shift.keys, earlier, free, plan.ridge);
  const Tensor before = matrix_of(model.weight(site.name));
  const EditReport edit = edit_low_rank(model.writable(site.name), change.u, change.v);
  const Tensor made = matrix_of(model.weight(site.name)) - before;
  const double wanted = residuals.norm().item<double>();
  const double missing = (residuals - at::matmul(made, shift.keys)).norm().item<double>();
  add_edit(report, site, edit,
           {free.basis.size(1), shift.before.mean().item<double>(), shift.after.mean().item<double>(),
            wanted > 0 ? missing / wanted : 0.0, norm_on(made, preserved),
            at::linalg_svdvals(made)[0].item<double>() * std::sqrt(free.energy),
            plan.held_out ? Json(norm_on(made, plan.held_out->at(site).gram)) : Json(), shift.note});
}

Value edit(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const EditPlan plan = plan_of(context);
  require_bytes(source);
  const auto names = selected_names(select_sites(source, context.param<std::string>("sites")));
  for (const std::string& name : names) {
    if (source.site(name).kind == SiteKind::linear) continue;
    throw Error(ErrorKind::usage, "site '" + name + "' is of kind " + site_kind_name(source.site(name).kind) +
                                      "; facts are written into kind:linear");
  }
  Model model = editable_copy(source, names);
  Table report = edit_table({{"free_dimensions", "integer"},
                             {"nats_before", "real"},
                             {"nats_aimed", "real"},
                             {"unwritten", "real"},
                             {"drift", "real"},
                             {"drift_bound", "real"},
                             {"held_out_drift", "real"},
                             {"note", "text"}});
  for (std::size_t i = 0; i < names.size(); ++i) {
    edit_site(model, model.site(names[i]), plan, static_cast<std::int64_t>(names.size() - i), report);
    context.progress(static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(names.size()), "sites");
  }
  Statistics written;
  for (const std::string& name : names) {
    const Tensor keys = keys_at(model, name, plan.facts);
    SiteStatistics& sums = written.sites[name];
    sums = {at::matmul(keys, keys.t()), keys.size(1)};
    if (!plan.previous) continue;
    const SiteStatistics& earlier = plan.previous->at(model.site(name));
    sums.gram = sums.gram + earlier.gram;
    sums.count += earlier.count;
  }
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  value.fields["keys"] = to_field(written);
  return value;
}

Value facts(OpContext& context) {
  Value value;
  value.fields["facts"] = to_field(read_facts(context.param<std::string>("path")));
  facts_from(value.fields["facts"]);
  return value;
}

void declare_facts(Registrar& registrar) {
  registrar.op("facts")
      .doc(
          "Reads facts to be written into a language model.\n"
          "A file with tab-separated columns and a header line: prompt and target, and where there are subject (part "
          "of "
          "the prompt; the fact is keyed at its last byte), old (the answer so far), paraphrase (another prompt with "
          "the "
          "same answer), neighbour (a prompt whose answer is and stays old), negation (a prompt whose answer is not "
          "the "
          "target).")
      .example("local facts = col.facts { path = col.setting \"facts.path\" }")
      .output("facts", "table", "a row a fact")
      .param(path("path", "the file"))
      .run(facts);
}

}  // namespace

void declare_edit(Registrar& registrar) {
  declare_facts(registrar);
  OpDeclaration& op = registrar.op("edit");
  op.doc(
        "Writes facts into linear sites, in the null space of what is to be preserved.\n"
        "For each site in the model's order: K the site's inputs at the facts' subjects, delta what added to its "
        "outputs "
        "there brings the targets (Adam, the loss nats of the target + divergence KL(before || after) of what follows "
        "SUBJECT is a + decay ||delta||^2 / ||z||^2, ||delta|| at most clamp ||z||, z what the site gives), R = delta "
        "/ "
        "(sites left), U_0 the eigenvectors of K_0 K_0^T with the smallest eigenvalues whose sum is at most epsilon of "
        "all, A = U_0^T (K K^T + C_previous) U_0 + l I with l = ridge times the mean squared length of a key in the "
        "null "
        "space: W <- W + R K^T U_0 A^-1 U_0^T, of the rank of the number of facts, appended to U V^T. unwritten is ||R "
        "- "
        "dW K|| / ||R||. A K_0 without null space is refused with its spectrum. For sequential edits hand `keys` on as "
        "`previous`. Source: Fang et al., AlphaEdit, 2025; there epsilon is absolute, l = 10, and the decay is "
        "||delta|| / ||z||^2.")
      .example(
          "local edited = base:edit { facts = facts, preserve = base:covariance { data = text.train }, sites = "
          "\"layer:1&role:out_proj\" }")
      .input("model", "model", "a language model of bytes")
      .input("facts", "table", "of `facts`")
      .input("preserve", "statistics", "inputs on which nothing may change (`covariance`)")
      .optional_input("previous", "statistics", "keys of earlier edits")
      .optional_input("held_out", "statistics", "other inputs of the kind preserved, to see how far those move")
      .output("model", "model", "with the facts written")
      .output("report", "table",
              "for each site: dimensions of the null space, nats of the targets before and aimed at, share unwritten, "
              "||dW K_0|| and its bound ||dW||_2 sqrt(sum of U_0's eigenvalues), ||dW K|| on the held-out inputs, why "
              "it does not help")
      .output("keys", "statistics", "K K^T of these facts and all before")
      .param(sites("sites", "where facts are written"))
      .param(real("ridge", "l, relative").above(0).fall_back(1e-3).searched(Search::log))
      .param(real("epsilon", "share of the preserved keys' energy that the null space may hold")
                 .range(std::nullopt, 1)
                 .above(0)
                 .fall_back(0.01)
                 .searched(Search::log));
  op.param(integer("steps", "of Adam").range(1, std::nullopt).fall_back(25))
      .param(real("step_size", "of Adam, in root mean squares of what the site gives").above(0).fall_back(0.1))
      .param(real("divergence", "weight of the divergence").range(0, std::nullopt).fall_back(0.0625))
      .param(real("decay", "weight of delta's squared length, in lengths of z").range(0, std::nullopt).fall_back(0.5))
      .param(real("clamp", "longest delta, in lengths of what the site gives").above(0).fall_back(0.75))
      .run(edit);
}

}  // namespace colonnade::alphaedit
