#include "solve.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "colonnade/error.h"

namespace colonnade::alphaedit {

namespace {

[[noreturn]] void refuse_full(const Tensor& rising, double epsilon, const std::string& site) {
  const std::int64_t count = rising.numel();
  const double all = rising.sum().item<double>();
  const auto share = [&](double quantile) {
    return rising[std::llround(quantile * static_cast<double>(count - 1))].item<double>() / all;
  };
  std::ostringstream text;
  text << "site '" << site << "': what is to be preserved leaves no null space at epsilon = " << epsilon
       << ". Shares of the " << count << " eigenvalues of K0 K0^T, from the smallest: " << share(0) << ", 10 % "
       << share(0.1) << ", median " << share(0.5) << ", 90 % " << share(0.9) << ", largest " << share(1)
       << ". Raise epsilon above " << share(0) << ", or preserve less";
  throw Error(ErrorKind::input, text.str());
}

// Solves A X = B for a symmetric positive definite A.
Tensor solve_positive(const Tensor& a, const Tensor& b) {
  auto [factor, info] = at::linalg_cholesky_ex(a);
  if (info.item<std::int64_t>() == 0) return at::cholesky_solve(b, factor);
  // Keys that span less than the null space, with a ridge that rounding swallows: the least solution.
  return at::matmul(at::linalg_pinv(a, 1e-12, true), b);
}

// The top left singular vectors of Z X, from X Xᵀ: eigenvectors on the smaller of its two sides.
Tensor leading(const Tensor& z, const Tensor& gram, std::int64_t count) {
  const auto last = [&](const Tensor& symmetric) {
    const Tensor vectors = std::get<1>(at::linalg_eigh(symmetric, "L"));
    return vectors.narrow(1, vectors.size(1) - count, count);
  };
  if (z.size(0) <= gram.size(0)) return last(at::matmul(z, at::matmul(gram, z.t()))).contiguous();
  auto [values, vectors] = at::linalg_eigh(gram, "L");
  const Tensor shape = at::matmul(z, vectors * values.clamp_min(0).sqrt());  // Z X turned
  // Orthonormalised rather than divided by singular values, some of which may be zero.
  return std::get<0>(at::linalg_qr(at::matmul(shape, last(at::matmul(shape.t(), shape))), "reduced"));
}

Tensor with_ridge(const Tensor& symmetric, double ridge) {
  return symmetric + ridge * at::eye(symmetric.size(0), symmetric.options());
}

}  // namespace

Tensor NullSpace::inside(const Tensor& gram) const {
  return basis.defined() ? at::matmul(basis.t(), at::matmul(gram, basis)) : gram;
}

Tensor NullSpace::reduce(const Tensor& columns) const {
  return basis.defined() ? at::matmul(basis.t(), columns) : columns;
}

Tensor NullSpace::expand(const Tensor& columns) const {
  return basis.defined() ? at::matmul(basis, columns) : columns;
}

NullSpace null_space_of(const Tensor& gram, double epsilon, const std::string& site) {
  auto [rising, vectors] = at::linalg_eigh(gram, "L");
  rising = rising.clamp_min(0);
  const double all = rising.sum().item<double>();
  const std::int64_t free = (rising.cumsum(0) <= epsilon * all).sum().item<std::int64_t>();
  if (free == 0) refuse_full(rising, epsilon, site);
  return {vectors.narrow(1, 0, free).contiguous(), rising.narrow(0, 0, free).sum().item<double>()};
}

Factors write_keys(const Tensor& residuals, const Tensor& keys, const Tensor& earlier, const NullSpace& free,
                   double ridge) {
  const Tensor reduced = free.reduce(keys);
  Tensor gram = at::matmul(reduced, reduced.t());
  const double mean_square = reduced.square().sum().item<double>() / static_cast<double>(keys.size(1));
  if (earlier.defined()) gram = gram + free.inside(earlier);
  return {residuals, free.expand(solve_positive(with_ridge(gram, ridge * mean_square), reduced))};
}

Factors restore(const Tensor& lost, const Tensor& gram, const NullSpace& free, std::int64_t rank, double ridge) {
  const Tensor inside = free.inside(gram);  // X Xᵀ
  const double mean = inside.trace().item<double>() / static_cast<double>(inside.size(0));
  const Tensor lost_gram = at::matmul(lost, gram);                                            // E K Kᵀ
  const Tensor cross = free.basis.defined() ? at::matmul(lost_gram, free.basis) : lost_gram;  // Y Xᵀ
  const Tensor z = solve_positive(with_ridge(inside, ridge * mean), cross.t()).t();
  const Tensor top = leading(z, inside, std::min({rank, z.size(0), inside.size(0)}));
  return {top, free.expand(at::matmul(z.t(), top))};
}

double norm_on(const Tensor& matrix, const Tensor& gram) {
  return std::sqrt(std::max(0.0, (at::matmul(matrix, gram) * matrix).sum().item<double>()));
}

}  // namespace colonnade::alphaedit
