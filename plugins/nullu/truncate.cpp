#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/editing.h"
#include "colonnade/tensor/statistics.h"
#include "low_rank.h"
#include "ops.h"

namespace colonnade::nullu {

namespace {

struct Options {
  bool effective = false;
  RankRule rule;
  Method method = Method::automatic;
  std::optional<Statistics> weights;
  RandomStream random;
};

// What became of one site.
struct Truncated {
  EditReport edit;
  std::int64_t rank_before = 0;
  double norm = 0, error = 0;                       // ‖M‖ and ‖M − M_r‖
  double tail = 0, weighted_error = 0, energy = 1;  // of what was decomposed: M, or M C^½
  std::int64_t nominal_before = 0, nominal_after = 0;
  std::string method, note;
};

std::string method_name(Method method) {
  return method == Method::randomised ? "randomised" : method == Method::qr ? "qr" : "svd";
}

Options options_of(const OpContext& context) {
  const std::map<std::string, Method> methods = {
      {"auto", Method::automatic}, {"svd", Method::svd}, {"randomised", Method::randomised}, {"qr", Method::qr}};
  Options options;
  options.effective = context.param<std::string>("on") == "effective";
  options.method = methods.at(context.param<std::string>("method"));
  if (context.has_param("rank")) options.rule.rank = context.param<std::int64_t>("rank");
  if (context.has_param("rank_ratio")) options.rule.ratio = context.param<double>("rank_ratio");
  if (context.has_param("energy")) options.rule.energy = context.param<double>("energy");
  const int given = options.rule.rank.has_value() + options.rule.ratio.has_value() + options.rule.energy.has_value();
  if (given != 1) {
    throw Error(ErrorKind::usage, "how much is kept is said by exactly one of `rank`, `rank_ratio` and `energy`; " +
                                      std::to_string(given) + " of them are given");
  }
  if (context.has_input("weights")) options.weights = statistics_from(context.input("weights"));
  options.random = context.random();
  return options;
}

std::string default_sites(const Model& model, bool effective) {
  std::string with_factors, with_reference;
  for (const SiteSpec& site : model.sites()) {
    const auto add = [&](std::string& names) { names += (names.empty() ? "" : ",") + site.name; };
    if (model.weight(site.name).rank() > 0) add(with_factors);
    if (model.weight(site.name).has_reference() && site.kind == SiteKind::linear) add(with_reference);
  }
  if (effective) return with_reference.empty() ? "kind:linear" : with_reference;
  if (!with_factors.empty()) return with_factors;
  throw Error(ErrorKind::input,
              "no site of the model has a low-rank part U V^T to truncate; say on = \"effective\" to truncate weights");
}

Tensor matrix_of(const SiteWeight& weight, bool effective) {
  Tensor factors = weight.rank() > 0 ? at::matmul(weight.u.to(at::kDouble), weight.v.to(at::kDouble).t()) : Tensor();
  if (!effective) return factors;
  Tensor sparse = weight.sparse.to(at::kDouble).reshape({weight.sparse.size(0), -1});
  return factors.defined() ? sparse + factors : sparse;
}

// Q Qᵀ M as factors while they are smaller than the matrix.
void put(SiteWeight& weight, const Tensor& basis, const Tensor& matrix, Truncated& result) {
  const std::int64_t rows = matrix.size(0), columns = matrix.size(1), rank = basis.size(1);
  const auto type = weight.sparse.scalar_type();
  result.edit.gave_up_mask = result.edit.gave_up_mask || weight.has_mask();
  weight.mask = Tensor();
  if (rank * (rows + columns) >= rows * columns) {
    weight.sparse = at::matmul(basis, at::matmul(basis.t(), matrix)).to(type).reshape(weight.sparse.sizes());
    weight.u = weight.v = Tensor();
    return;
  }
  weight.sparse = at::zeros_like(weight.sparse);
  weight.u = basis;
  weight.v = at::matmul(matrix.t(), basis);
  recompress(weight);
  if (weight.rank() > 0) {
    weight.u = weight.u.to(type);
    weight.v = weight.v.to(type);
  }
  result.edit.low_rank = true;
}

Tensor held(const SiteWeight& weight, bool effective) {
  Tensor matrix = matrix_of(weight, effective);
  return matrix.defined() ? matrix : at::zeros({1, 1}, at::kDouble);
}

Truncated truncate_site(const SiteSpec& site, SiteWeight& weight, const Options& options) {
  Truncated result;
  result.rank_before = weight.rank();
  result.nominal_before = result.nominal_after = nominal_size(weight);
  result.edit.rank = weight.rank();
  if (!options.effective && weight.rank() == 0) {
    result.note = "it has no low-rank part";
    return result;
  }
  const Tensor matrix = matrix_of(weight, options.effective);
  require_finite(matrix, "site '" + site.name + "'");
  result.norm = matrix.norm().item<double>();
  if (result.norm == 0) {
    result.note = "all zero";
    return result;
  }
  Tensor root;
  if (options.weights) root = root_of(options.weights->at(site).gram);
  const Tensor target = root.defined() ? at::matmul(matrix, root) : matrix;
  const bool by_factors = !options.effective && !root.defined() && options.method != Method::qr;
  const Projection kept = by_factors ? project_factors(weight.u.to(at::kDouble), weight.v.to(at::kDouble), options.rule)
                                     : project_rank(target, options.rule, options.method, options.random.at(site.name));
  if (options.effective) {
    put(weight, kept.basis, matrix, result);
  } else {
    weight.v = at::matmul(matrix.t(), kept.basis);
    weight.u = kept.basis;
    const auto type = weight.sparse.scalar_type();
    recompress(weight);
    if (weight.rank() > 0) {
      weight.u = weight.u.to(type);
      weight.v = weight.v.to(type);
    }
    result.edit.low_rank = true;
  }
  const Tensor difference = matrix - held(weight, options.effective);
  result.error = difference.norm().item<double>();
  result.weighted_error = root.defined() ? at::matmul(difference, root).norm().item<double>() : result.error;
  result.tail = kept.tail;
  result.energy = kept.energy;
  result.method = method_name(kept.method);
  result.edit.rank = weight.rank();
  result.edit.requested_norm = result.norm;
  result.nominal_after = nominal_size(weight);
  return result;
}

Json number_or_null(double value) {
  return std::isnan(value) ? Json() : Json(value);
}

Table empty_report() {
  return edit_table({{"rank_before", "integer"},
                     {"method", "text"},
                     {"norm", "real"},
                     {"error", "real"},
                     {"relative_error", "real"},
                     {"tail", "real"},
                     {"weighted_error", "real"},
                     {"energy", "real"},
                     {"nominal_before", "integer"},
                     {"nominal_after", "integer"},
                     {"skipped", "text"}});
}

}  // namespace

Value truncate(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = Model::from_field(context.input("model"));
  const Options options = options_of(context);
  const auto names = selected_names(
      chosen_sites(context, source, context.has_param("sites") ? "" : default_sites(source, options.effective)));
  for (const std::string& name : names) {
    if (source.site(name).kind != SiteKind::vector) continue;
    throw Error(ErrorKind::usage, "site '" + name + "' is a vector, which has no rank to reduce; narrow `sites`");
  }
  Model model = editable_copy(source, names);
  Table report = empty_report();
  double error = 0, norm = 0;
  std::int64_t nominal = 0;
  for (const std::string& name : names) {
    SiteWeight& weight = model.writable(name);
    EditReport first;
    if (options.effective && of_site(context, source, name) == Of::weights) first = drop_reference(weight);
    Truncated done = truncate_site(model.site(name), weight, options);
    done.edit.gave_up_mask = done.edit.gave_up_mask || first.gave_up_mask;
    error += done.error * done.error;
    norm += done.norm * done.norm;
    nominal += done.nominal_after;
    add_edit(report, model.site(name), done.edit,
             {done.rank_before, done.method, done.norm, done.error, done.norm > 0 ? done.error / done.norm : 0.0,
              number_or_null(done.tail), done.weighted_error, done.energy, done.nominal_before, done.nominal_after,
              done.note});
  }
  const auto count = static_cast<std::int64_t>(names.size());
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  value.fields["error"] = to_field(Scalar{norm > 0 ? std::sqrt(error / norm) : 0, count, {}, "", Better::lower, {}});
  value.fields["nominal"] = to_field(Scalar{static_cast<double>(nominal), count, {}, "numbers", Better::lower, {}});
  return value;
}

}  // namespace colonnade::nullu
