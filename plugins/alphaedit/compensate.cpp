#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/editing.h"
#include "colonnade/tensor/statistics.h"
#include "ops.h"
#include "solve.h"

namespace colonnade::alphaedit {

namespace {

// Differences below this share of a weight are the rounding of how it is kept, not a loss.
double rounding_of(at::ScalarType type) {
  return type == at::kDouble ? 1e-14 : 1e-6;
}

Tensor matrix_of(const SiteWeight& weight) {
  return effective_weight(weight).to(at::kDouble).reshape({weight.sparse.size(0), -1});
}

struct Plan {
  std::int64_t rank = 8;
  double alpha = 0.5, ridge = 1e-6, epsilon = 0.01;
  Statistics keys;
  std::optional<Statistics> preserve, held_out;
};

struct Outcome {
  EditReport edit;
  std::int64_t free = 0;  // dimensions of the null space
  double error_before = 0, error_after = 0, drift = 0, bound = 0;
  Json held_out_drift;  // null where nothing was held out
  std::string note;
};

Outcome compensate_site(const SiteSpec& site, const SiteWeight& before, SiteWeight& weight, const Plan& plan) {
  Outcome outcome;
  outcome.edit.rank = weight.rank();
  const Tensor& gram = plan.keys.at(site).gram;
  const Tensor wanted = matrix_of(before), start = matrix_of(weight), lost = wanted - start;
  require_finite(lost, "site '" + site.name + "'");
  outcome.error_before = outcome.error_after = norm_on(lost, gram);
  if (lost.norm().item<double>() <= rounding_of(weight.sparse.scalar_type()) * wanted.norm().item<double>()) {
    outcome.note = "nothing to restore";
    return outcome;
  }
  NullSpace free;
  if (plan.preserve) free = null_space_of(plan.preserve->at(site).gram, plan.epsilon, site.name);
  outcome.free = free.dimension(site.columns());
  if (!(free.inside(gram).trace().item<double>() > 0)) {
    outcome.note = "the keys have no part in the null space";
    return outcome;
  }
  const Factors change = restore(lost, gram, free, plan.rank, plan.ridge);
  outcome.edit = edit_low_rank(weight, plan.alpha * change.u, change.v);
  const Tensor made = matrix_of(weight) - start;
  outcome.error_after = norm_on(lost - made, gram);
  if (plan.preserve) {
    outcome.drift = norm_on(made, plan.preserve->at(site).gram);
    outcome.bound = at::linalg_svdvals(made)[0].item<double>() * std::sqrt(free.energy);
  }
  if (plan.held_out) outcome.held_out_drift = norm_on(made, plan.held_out->at(site).gram);
  return outcome;
}

// A model whose variables were ordered anew since lost nothing where `before` has other numbers: the same numbers in
// another order are told by the references, which no stage changes.
void require_same_order(const std::string& site, const SiteWeight& before, const SiteWeight& now) {
  if (!before.has_reference() || !now.has_reference() || at::equal(before.reference, now.reference)) return;
  const auto sorted = [](const Tensor& tensor) { return std::get<0>(tensor.reshape({-1}).sort()); };
  if (!at::equal(sorted(before.reference), sorted(now.reference))) return;
  throw Error(ErrorKind::input, "site '" + site + "' has its variables in another order than before, as `scan` puts " +
                                    "them; compensate first, or order `before` before it is compressed and collect " +
                                    "the keys of that model");
}

// Sites that the statistics know.
std::string default_sites(const Model& model, const Statistics& keys) {
  std::string names;
  for (const SiteSpec& site : model.sites()) {
    if (keys.sites.contains(site.name)) names += (names.empty() ? "" : ",") + site.name;
  }
  return names.empty() ? "kind:linear" : names;
}

Value compensate(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const Model before_source = Model::from_field(context.input("before"));
  Plan plan;
  plan.rank = context.param<std::int64_t>("rank");
  plan.alpha = context.param<double>("alpha");
  plan.ridge = context.param<double>("ridge");
  plan.epsilon = context.param<double>("epsilon");
  plan.keys = statistics_from(context.input("keys"));
  if (context.has_input("held_out")) plan.held_out = statistics_from(context.input("held_out"));
  if (context.has_input("preserve")) plan.preserve = statistics_from(context.input("preserve"));
  const auto names = selected_names(chosen_sites(context, source, default_sites(source, plan.keys)));
  for (const std::string& name : names) {
    if (source.site(name).shape != before_source.site(name).shape) {
      throw Error(ErrorKind::input, "site '" + name + "' has other sizes before; both models have the same structure");
    }
    require_same_order(name, before_source.weight(name), source.weight(name));
  }
  Model model = editable_copy(source, names);
  const Model before = editable_copy(before_source, names);
  Table report = edit_table({{"free_dimensions", "integer"},
                             {"error_before", "real"},
                             {"error_after", "real"},
                             {"drift", "real"},
                             {"drift_bound", "real"},
                             {"held_out_drift", "real"},
                             {"note", "text"}});
  double error_before = 0, error_after = 0;
  bool identity = true;
  for (const std::string& name : names) {
    const Outcome done = compensate_site(model.site(name), before.weight(name), model.writable(name), plan);
    identity = identity && !done.note.empty();
    error_before += done.error_before * done.error_before;
    error_after += done.error_after * done.error_after;
    add_edit(report, model.site(name), done.edit,
             {done.free, done.error_before, done.error_after, done.drift, done.bound, done.held_out_drift, done.note});
  }
  if (identity) context.log("compensate: nothing to restore; the model stays as it is");
  const auto count = static_cast<std::int64_t>(names.size());
  const double restored = error_before > 0 ? 1 - std::sqrt(error_after / error_before) : 0;
  Value value;
  value.fields["model"] = identity ? source.to_field() : model.to_field();
  value.fields["report"] = to_field(report);
  value.fields["restored"] = to_field(Scalar{restored, count, {}, "", Better::higher, {}});
  value.fields["identity"] = to_field(Scalar{identity ? 1.0 : 0.0, count, {}, "", Better::neither, {}});
  return value;
}

}  // namespace

void declare_compensate(Registrar& registrar) {
  registrar.op("compensate")
      .doc(
          "Restores what earlier stages took from a model's outputs, by a change of low rank.\n"
          "At each site E = W_before - W_now, K the calibration keys (the site's inputs), Y = E K, U_0 the "
          "eigenvectors of "
          "K_0 K_0^T with the smallest eigenvalues whose sum is at most epsilon of all (everything, without "
          "`preserve`), X "
          "= U_0^T K, Z = Y X^T (X X^T + l I)^-1 with l = ridge times the mean eigenvalue of X X^T, Q the top `rank` "
          "left "
          "singular vectors of Z X: W <- W + alpha Q Q^T Z U_0^T. As ridge goes to 0, alpha 1, no other change of that "
          "rank in the null space restores more of Y. It is appended to U V^T, so zeros of masks stay. Where nothing "
          "was "
          "lost it is the identity, and says so. The null space is AlphaEdit's: Fang et al., AlphaEdit: Null-Space "
          "Constrained Knowledge Editing for Language Models, 2025.")
      .example("local mended = thin:compensate { before = start, keys = start:covariance { data = text.valid } }")
      .input("model", "model", "what lost something")
      .input("before", "model", "what it is to give again")
      .input("keys", "statistics", "inputs on which outputs are restored (`covariance`)")
      .optional_input("preserve", "statistics", "inputs on which nothing may change")
      .optional_input("held_out", "statistics", "other inputs of the kind preserved, to see how far those move")
      .output("model", "model", "with a change of low rank at each site")
      .output("report", "table",
              "for each site: dimensions of the null space, ||E K|| before and after, ||dW K_0|| and its bound "
              "||dW||_2 sqrt(sum of U_0's eigenvalues), ||dW K|| on the held-out inputs, why nothing was done")
      .output("restored", "scalar", "share of ||E K|| over all sites that is gone")
      .output("identity", "scalar", "1 where nothing was done at any site")
      .param(integer("rank", "of the change at each site").range(1, std::nullopt).fall_back(8).searched(Search::log))
      .param(real("alpha", "share of the change that is made").range(0, 1).fall_back(0.5).searched(Search::linear))
      .param(real("ridge", "l, relative").above(0).fall_back(1e-6))
      .param(real("epsilon", "share of the preserved keys' energy that the null space may hold")
                 .range(std::nullopt, 1)
                 .above(0)
                 .fall_back(0.01)
                 .searched(Search::log))
      .param(sites("sites", "what is mended; by default the sites that `keys` has").optional())
      .run(compensate);
}

}  // namespace colonnade::alphaedit
