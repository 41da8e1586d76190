#include "low_rank.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "colonnade/error.h"

namespace colonnade::nullu {

namespace {

constexpr double kRandomisedShare = 0.05;  // of min(m, n): above it the whole decomposition is no dearer
constexpr std::int64_t kOversampling = 10;
constexpr int kPowerSteps = 2;

Tensor orthonormal(const Tensor& columns) {
  return std::get<0>(at::linalg_qr(columns, "reduced"));
}

// Of what lies outside, by the squares inside: differences of squares lose half the digits, which an orthonormal
// projection's remainder does not.
Projection with_tail(const Tensor& basis, const Tensor& singular, std::int64_t rank, Method method) {
  Projection result{basis, 0, 1, method};
  const double all = singular.square().sum().item<double>();
  const Tensor rest = singular.narrow(0, rank, singular.numel() - rank);
  const double left_out = rest.square().sum().item<double>();
  result.tail = std::sqrt(left_out);
  if (all > 0) result.energy = 1 - left_out / all;
  return result;
}

Projection by_svd(const Tensor& matrix, const RankRule& rule) {
  auto [left, singular, right] = at::linalg_svd(matrix, false);
  const std::int64_t rank = rule.of_spectrum(singular);
  return with_tail(left.narrow(1, 0, rank).contiguous(), singular, rank, Method::svd);
}

Projection by_random_range(const Tensor& matrix, std::int64_t rank, const RandomStream& random) {
  const std::int64_t columns = std::min(rank + kOversampling, std::min(matrix.size(0), matrix.size(1)));
  Tensor range = orthonormal(at::matmul(matrix, random_normal(random, {matrix.size(1), columns}, at::kDouble)));
  for (int step = 0; step < kPowerSteps; ++step) {
    range = orthonormal(at::matmul(matrix, orthonormal(at::matmul(matrix.t(), range))));
  }
  // The core is small: columns by n, whose left vectors are those of its own triangular factor.
  Tensor core = at::matmul(range.t(), matrix);
  auto [left, singular, right] = at::linalg_svd(std::get<1>(at::linalg_qr(core.t(), "r")).t(), false);
  Projection result{at::matmul(range, left.narrow(1, 0, rank)).contiguous(), 0, 1, Method::randomised};
  result.tail = (matrix - at::matmul(result.basis, at::matmul(result.basis.t(), matrix))).norm().item<double>();
  const double all = matrix.norm().item<double>();
  if (all > 0) result.energy = 1 - result.tail * result.tail / (all * all);
  return result;
}

// Greedy: always the column of which most is left. Orthogonalised twice, which is enough.
Projection by_pivoted_qr(const Tensor& matrix, const RankRule& rule) {
  const std::int64_t most = std::min(matrix.size(0), matrix.size(1));
  const std::int64_t limit = rule.of_count(most).value_or(most);
  const double all = matrix.square().sum().item<double>();
  Tensor rest = matrix.clone(), basis = at::empty({matrix.size(0), 0}, matrix.options());
  Projection result{basis, 0, 1, Method::qr};
  double left = all;
  while (basis.size(1) < limit) {
    const auto pivot = rest.square().sum(0).argmax().item<std::int64_t>();
    Tensor column = rest.select(1, pivot).clone();
    column -= at::mv(basis, at::mv(basis.t(), column));
    const double norm = column.norm().item<double>();
    if (norm <= std::numeric_limits<double>::epsilon() * std::sqrt(all)) break;
    column /= norm;
    rest -= at::outer(column, at::mv(rest.t(), column));
    basis = at::cat({basis, column.reshape({-1, 1})}, 1);
    left = rest.square().sum().item<double>();
    if (rule.energy && left <= (1 - *rule.energy) * all) break;
  }
  result.basis = basis;
  result.tail = std::numeric_limits<double>::quiet_NaN();
  if (all > 0) result.energy = 1 - left / all;
  return result;
}

}  // namespace

std::optional<std::int64_t> RankRule::of_count(std::int64_t available) const {
  if (rank) return std::clamp<std::int64_t>(*rank, 1, available);
  if (ratio) return std::clamp<std::int64_t>(std::llround(*ratio * static_cast<double>(available)), 1, available);
  return std::nullopt;
}

std::int64_t RankRule::of_spectrum(const Tensor& singular) const {
  const std::int64_t available = singular.numel();
  if (const auto count = of_count(available)) return *count;
  Tensor squares = singular.to(at::kDouble).square().cumsum(0);
  const double wanted = *energy * squares[available - 1].item<double>();
  return std::min<std::int64_t>((squares < wanted).sum().item<std::int64_t>() + 1, available);
}

Projection project_rank(const Tensor& matrix, const RankRule& rule, Method method, const RandomStream& random) {
  const std::int64_t most = std::min(matrix.size(0), matrix.size(1));
  const auto rank = rule.of_count(most);
  if (method == Method::automatic) {
    const bool pays = rank && static_cast<double>(*rank) <= kRandomisedShare * static_cast<double>(most);
    method = pays ? Method::randomised : Method::svd;
  }
  if (method == Method::qr) return by_pivoted_qr(matrix, rule);
  if (method == Method::svd) return by_svd(matrix, rule);
  if (!rank) {
    throw Error(ErrorKind::usage,
                "method = \"randomised\" finds a number of directions given beforehand: say `rank` or `rank_ratio` "
                "instead of `energy`");
  }
  return by_random_range(matrix, *rank, random);
}

Projection project_factors(const Tensor& u, const Tensor& v, const RankRule& rule) {
  auto [left_basis, left_triangle] = at::linalg_qr(u, "reduced");
  const Tensor right_triangle = std::get<1>(at::linalg_qr(v, "r"));
  auto [left, singular, right] = at::linalg_svd(at::matmul(left_triangle, right_triangle.t()), false);
  const std::int64_t rank = rule.of_spectrum(singular);
  return with_tail(at::matmul(left_basis, left.narrow(1, 0, rank)).contiguous(), singular, rank, Method::svd);
}

Tensor root_of(const Tensor& symmetric) {
  auto [values, vectors] = at::linalg_eigh(symmetric, "L");
  return vectors * values.clamp_min(0).sqrt();
}

}  // namespace colonnade::nullu
