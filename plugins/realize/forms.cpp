#include "forms.h"

#include <ATen/Functions.h>

#include <utility>

#include "colonnade/tensor/empty_weight.h"

namespace colonnade::realize {

namespace {

Tensor matrix_of(const Tensor& tensor) {
  return tensor.reshape({tensor.size(0), -1});
}

std::string named(const std::string& of_sparse, const SiteWeight& weight) {
  if (of_sparse.empty()) return weight.rank() > 0 ? "low rank" : "zero";
  return weight.rank() > 0 ? of_sparse + " + low rank" : of_sparse;
}

/// U Vᵀ beside an empty S, and maybe a form of it.
Candidate without_dense(const SiteWeight& weight, std::optional<RunningForm> form) {
  Candidate candidate{named(form ? form->name() : "", weight), weight, std::move(form)};
  candidate.weight.sparse = empty_weight(weight.sparse.sizes(), weight.sparse.scalar_type());
  return candidate;
}

template <typename Count>
std::int64_t sum_of(const Candidate& candidate, Count count) {
  std::int64_t sum = 0;
  const SiteWeight& weight = candidate.weight;
  if (!is_empty_weight(weight.sparse)) sum += count(weight.sparse);
  if (weight.rank() > 0) sum += count(weight.u) + count(weight.v);
  return sum;
}

}  // namespace

SiteWeight without_reference(const SiteWeight& weight) {
  SiteWeight alone;
  alone.sparse = weight.has_reference() ? weight.reference + weight.sparse : weight.sparse;
  alone.u = weight.u;
  alone.v = weight.v;
  return alone;
}

std::int64_t Candidate::bytes() const {
  return sum_of(*this, [](const Tensor& tensor) { return static_cast<std::int64_t>(tensor.nbytes()); }) +
         (form ? form->bytes() : 0);
}

std::int64_t Candidate::numbers() const {
  return sum_of(*this, [](const Tensor& tensor) { return tensor.numel(); }) + (form ? form->numbers() : 0);
}

std::vector<Candidate> candidates(const SiteWeight& weight) {
  const SiteWeight alone = without_reference(weight);
  const Tensor matrix = matrix_of(alone.sparse);
  SiteWeight merged;
  merged.sparse = effective_weight(alone);
  std::vector<Candidate> all = {{"dense", merged, std::nullopt}};
  const auto nonzero = matrix.count_nonzero().item<std::int64_t>();
  if (nonzero == 0) {
    all.push_back(without_dense(alone, std::nullopt));
    return all;
  }
  if (alone.rank() > 0) all.push_back({named("dense", alone), alone, std::nullopt});
  RunningForm compact = compact_form(matrix);
  if (compact.rows.defined() || compact.columns.defined()) all.push_back(without_dense(alone, std::move(compact)));
  if (2 * nonzero < matrix.numel()) all.push_back(without_dense(alone, sparse_form(matrix)));
  return all;
}

Tensor product(const Candidate& candidate, const Tensor& x) {
  const SiteWeight& weight = candidate.weight;
  Tensor y;
  const auto add = [&](const Tensor& part) { y = y.defined() ? y + part : part; };
  if (!is_empty_weight(weight.sparse)) add(at::linear(x, weight.sparse));
  if (weight.rank() > 0) add(at::linear(at::linear(x, weight.v.t()), weight.u));
  if (candidate.form) add(product(*candidate.form, x));
  return y.defined() ? y : at::zeros({x.size(0), weight.sparse.size(0)}, x.options());
}

void put(Model& model, const std::string& site, Candidate candidate) {
  model.set_weight(site, std::move(candidate.weight));
  if (candidate.form) model.attach(site, running_adapter(std::move(*candidate.form)), false);
}

Kept kept_at(const Model& model, const std::string& site) {
  if (const RunningForm* form = running_form(model, site)) return form->is_sparse() ? Kept::sparse : Kept::compact;
  return is_empty_weight(model.weight(site).sparse) ? Kept::nothing : Kept::all;
}

Candidate candidate_from(const SiteWeight& weight, Kept kept) {
  const Tensor matrix = matrix_of(weight.sparse);
  if (kept == Kept::nothing) return without_dense(weight, std::nullopt);
  if (kept == Kept::compact) return without_dense(weight, compact_form(matrix));
  if (kept == Kept::sparse) return without_dense(weight, sparse_form(matrix));
  return {named("dense", weight), weight, std::nullopt};
}

Model with_dense_weights(const Model& model) {
  std::vector<std::string> sites;
  for (const SiteSpec& site : model.sites()) {
    if (running_form(model, site.name) != nullptr) sites.push_back(site.name);
  }
  if (sites.empty()) return model;
  Model dense = model.mutable_copy(sites);
  for (const std::string& site : sites) {
    Tensor& sparse = dense.writable(site).sparse;
    sparse = sparse + dense_matrix(*running_form(model, site)).reshape(sparse.sizes());
    dense.detach(site, running_adapter_name);
  }
  return dense;
}

}  // namespace colonnade::realize
