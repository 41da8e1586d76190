#include "colonnade/tensor/site.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <string>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr double rank_tolerance = 1e-7;  // of the largest singular value

Tensor as_matrix(const Tensor& tensor) {
  return tensor.reshape({tensor.size(0), -1});
}

double norm_of(const Tensor& tensor) {
  return tensor.numel() == 0 ? 0.0 : tensor.detach().to(at::kDouble).norm().item<double>();
}

std::string sizes_of(at::IntArrayRef sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

// Broadcasting would hide an edit that was meant for another site.
void require_elements(const char* what, const Tensor& given, at::IntArrayRef expected) {
  if (given.defined() && given.numel() == c10::multiply_integers(expected)) return;
  throw Error(ErrorKind::input, std::string(what) + " has shape " + (given.defined() ? sizes_of(given.sizes()) : "[]") +
                                    ", its site needs " + sizes_of(expected));
}

// Adds what the mask lets through to S and says what it refused.
EditReport add_to_sparse(SiteWeight& weight, const Tensor& delta_matrix) {
  EditReport report;
  require_elements("an edit", delta_matrix, weight.sparse.sizes());
  require_finite(delta_matrix, "an edit of a site");
  Tensor delta = delta_matrix.reshape(weight.sparse.sizes()).to(weight.sparse.scalar_type());
  report.requested_norm = norm_of(delta);
  if (weight.has_mask()) {
    Tensor allowed = delta * weight.mask;
    report.lost_norm = norm_of(delta - allowed);
    delta = allowed;
  }
  weight.sparse = (weight.sparse + delta).detach();
  report.rank = weight.rank();
  return report;
}

EditReport scale(SiteWeight& weight, const Tensor& factors, int axis, bool densify_allowed) {
  EditReport report;
  Tensor matrix = as_matrix(weight.sparse);
  require_elements(axis == 0 ? "a scale of rows" : "a scale of columns", factors, {matrix.size(axis)});
  require_finite(factors, axis == 0 ? "a scale of rows" : "a scale of columns");
  Tensor l = factors.detach()
                 .to(matrix.scalar_type())
                 .reshape(axis == 0 ? at::IntArrayRef({-1, 1}) : at::IntArrayRef({1, -1}));
  Tensor scaled = matrix * l;
  if (weight.has_reference()) {
    if (weight.has_mask() && !densify_allowed) {
      throw Error(ErrorKind::input,
                  "scaling a site that is masked and has a reference would fill the mask's zeros with the reference's "
                  "change; fold with densify = true to give the mask up, or drop the reference first");
    }
    scaled = scaled + (l - 1) * as_matrix(weight.reference);
    report.gave_up_mask = weight.has_mask();
    weight.mask = Tensor();
  }
  weight.sparse = scaled.reshape(weight.sparse.sizes());
  Tensor& factor = axis == 0 ? weight.u : weight.v;
  if (factor.defined()) factor = factor * l.reshape({-1, 1});
  report.rank = weight.rank();
  return report;
}

}  // namespace

const char* site_kind_name(SiteKind kind) {
  switch (kind) {
    case SiteKind::linear:
      return "linear";
    case SiteKind::conv1d:
      return "conv1d";
    case SiteKind::embedding:
      return "embedding";
    case SiteKind::vector:
      return "vector";
  }
  return "";
}

std::int64_t SiteSpec::columns() const {
  std::int64_t result = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) result *= shape[i];
  return result;
}

const Part* SiteSpec::find_part(const std::string& part) const {
  for (const Part& candidate : parts) {
    if (candidate.name == part) return &candidate;
  }
  return nullptr;
}

Tensor effective_weight(const SiteWeight& weight) {
  Tensor result = weight.sparse;
  if (weight.has_reference()) result = weight.reference + result;
  if (weight.rank() > 0) result = result + at::matmul(weight.u, weight.v.t()).reshape(result.sizes());
  return result;
}

std::int64_t nominal_size(const SiteWeight& weight) {
  std::int64_t size = at::count_nonzero(weight.sparse).item<std::int64_t>();
  if (weight.rank() > 0) size += weight.u.numel() + weight.v.numel();
  return size;
}

void apply_mask(SiteWeight& weight, const Tensor& keep, bool with_low_rank) {
  require_elements("a mask", keep, weight.sparse.sizes());
  Tensor shaped = keep.to(at::kBool).reshape(weight.sparse.sizes());
  weight.mask = weight.has_mask() ? at::logical_and(weight.mask, shaped) : shaped.clone();
  // Not a product: a masked infinity or NaN has to become zero, and zeros stay positive.
  weight.sparse = at::where(weight.mask, weight.sparse, at::zeros({}, weight.sparse.options()));
  if (!with_low_rank || weight.rank() == 0) return;
  Tensor matrix = as_matrix(weight.mask);
  weight.u = weight.u * matrix.any(1).reshape({-1, 1});
  weight.v = weight.v * matrix.any(0).reshape({-1, 1});
}

EditReport edit_low_rank(SiteWeight& weight, const Tensor& delta_u, const Tensor& delta_v) {
  const std::int64_t rows = weight.sparse.size(0);
  const std::int64_t columns = weight.sparse.numel() / std::max<std::int64_t>(rows, 1);
  const bool fits = delta_u.dim() == 2 && delta_v.dim() == 2 && delta_u.size(0) == rows && delta_v.size(0) == columns &&
                    delta_u.size(1) == delta_v.size(1);
  if (!fits) {
    throw Error(ErrorKind::input, "a low-rank edit does not fit its site: factors " + sizes_of(delta_u.sizes()) +
                                      " and " + sizes_of(delta_v.sizes()) + " for a matrix " +
                                      sizes_of({rows, columns}));
  }
  require_finite(delta_u, "a low-rank edit of a site");
  require_finite(delta_v, "a low-rank edit of a site");
  Tensor u = delta_u.detach().to(weight.sparse.scalar_type());
  Tensor v = delta_v.detach().to(weight.sparse.scalar_type());
  SiteWeight appended = weight;
  appended.u = weight.rank() > 0 ? at::cat({weight.u, u}, 1) : u.clone();
  appended.v = weight.rank() > 0 ? at::cat({weight.v, v}, 1) : v.clone();
  recompress(appended);
  if (appended.rank() * (rows + columns) >= rows * columns) return add_to_sparse(weight, at::matmul(u, v.t()));
  EditReport report;
  report.requested_norm = norm_of(at::matmul(u, v.t()));
  weight.u = appended.u;
  weight.v = appended.v;
  report.low_rank = true;
  report.rank = weight.rank();
  return report;
}

EditReport edit_dense(SiteWeight& weight, const Tensor& delta) {
  return add_to_sparse(weight, as_matrix(delta.detach()));
}

EditReport scale_rows(SiteWeight& weight, const Tensor& factors, bool densify_allowed) {
  return scale(weight, factors, 0, densify_allowed);
}

EditReport scale_columns(SiteWeight& weight, const Tensor& factors, bool densify_allowed) {
  return scale(weight, factors, 1, densify_allowed);
}

EditReport set_reference(SiteWeight& weight, const Tensor& reference) {
  EditReport report;
  require_elements("a reference", reference, weight.sparse.sizes());
  require_finite(reference, "a reference");
  Tensor held = weight.has_reference() ? weight.reference + weight.sparse : weight.sparse;
  weight.reference = reference.detach().to(held.scalar_type()).reshape(held.sizes());
  weight.sparse = (held - weight.reference).detach();
  report.rank = weight.rank();
  if (!weight.has_mask()) return report;
  const bool zeros_hold = !at::logical_and(weight.sparse != 0, at::logical_not(weight.mask)).any().item<bool>();
  if (zeros_hold) return report;
  weight.mask = Tensor();
  report.gave_up_mask = true;
  return report;
}

EditReport densify(SiteWeight& weight) {
  EditReport report;
  report.gave_up_mask = weight.has_mask();
  weight.sparse = effective_weight(weight).detach().clone();
  weight.reference = Tensor();
  weight.mask = Tensor();
  weight.u = Tensor();
  weight.v = Tensor();
  return report;
}

void recompress(SiteWeight& weight) {
  if (weight.rank() == 0) {
    weight.u = Tensor();
    weight.v = Tensor();
    return;
  }
  const auto type = weight.u.scalar_type();
  auto [qu, ru] = at::linalg_qr(weight.u.detach().to(at::kDouble), "reduced");
  auto [qv, rv] = at::linalg_qr(weight.v.detach().to(at::kDouble), "reduced");
  auto [left, singular, right] = at::linalg_svd(at::matmul(ru, rv.t()), false);
  const double largest = singular.numel() > 0 ? singular[0].item<double>() : 0.0;
  const auto rank = (singular > largest * rank_tolerance).sum().item<std::int64_t>();
  if (rank == 0) {
    weight.u = Tensor();
    weight.v = Tensor();
    return;
  }
  // The singular values are shared evenly, so that neither factor's scale runs away when stages follow one another.
  Tensor root = singular.narrow(0, 0, rank).sqrt();
  weight.u = (at::matmul(qu, left.narrow(1, 0, rank)) * root).to(type).contiguous();
  weight.v = (at::matmul(qv, right.narrow(0, 0, rank).t()) * root).to(type).contiguous();
}

void reindex(SiteWeight& weight, int axis, const Tensor& index) {
  const auto take = [&](Tensor& tensor, std::int64_t dim) {
    if (tensor.defined()) tensor = tensor.index_select(dim, index.to(tensor.device()));
  };
  if (axis == 0) {
    take(weight.reference, 0);
    take(weight.sparse, 0);
    take(weight.mask, 0);
    take(weight.u, 0);
    return;
  }
  // Columns of the matrix are the last dimension of linear sites and [channels, states]; a convolution's taps are not
  // permuted.
  if (weight.sparse.dim() != 2) throw Error(ErrorKind::input, "only matrices have columns to permute");
  take(weight.reference, 1);
  take(weight.sparse, 1);
  take(weight.mask, 1);
  take(weight.v, 0);
}

}  // namespace colonnade
