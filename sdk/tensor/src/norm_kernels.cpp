#include "norm_kernels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace colonnade {

namespace {

constexpr std::int64_t elements_a_task = 16384;
// Rows whose share of the weight's gradient is summed first.
constexpr std::int64_t rows_a_part = 32;

// sum_i term(i), in as many parts as let the compiler use registers of several numbers.
template <typename Real, typename Term>
Real sum_over(std::int64_t count, const Term& term) {
  constexpr std::int64_t parts = 8;
  Real sums[parts] = {};
  const std::int64_t whole = count - count % parts;
  for (std::int64_t i = 0; i < whole; i += parts) {
    for (std::int64_t part = 0; part < parts; ++part) sums[part] += term(i + part);
  }
  for (std::int64_t i = whole; i < count; ++i) sums[i - whole] += term(i);
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

template <typename Row>
void for_rows(const NormShape& shape, const Row& row) {
  const std::int64_t grain = std::max<std::int64_t>(1, elements_a_task / shape.width);
  at::parallel_for(0, shape.rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t each = begin; each < end; ++each) row(each);
  });
}

template <typename Real>
void add(std::int64_t width, const Real* a, const Real* b, Real* out) {
  for (std::int64_t i = 0; i < width; ++i) out[i] = a[i] + b[i];
}

template <typename Real>
void weight_gradient(const NormShape& shape, const NormBackward<Real>& norm) {
  const std::int64_t width = shape.width, parts = (shape.rows + rows_a_part - 1) / rows_a_part;
  std::vector<Real> partial(static_cast<std::size_t>(parts * width), Real(0));
  at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin * rows_a_part; row < std::min(end * rows_a_part, shape.rows); ++row) {
      const Real *x = norm.sum + row * width, *dy = norm.dnormal + row * width, scale = norm.inverse_rms[row];
      Real* out = partial.data() + row / rows_a_part * width;
      for (std::int64_t i = 0; i < width; ++i) out[i] += dy[i] * x[i] * scale;
    }
  });
  std::fill(norm.dweight, norm.dweight + width, Real(0));
  for (std::int64_t part = 0; part < parts; ++part) {
    add(width, norm.dweight, partial.data() + part * width, norm.dweight);
  }
}

}  // namespace

template <typename Real>
void norm_rows(const NormShape& shape, const NormForward<Real>& norm) {
  for_rows(shape, [&](std::int64_t row) {
    const std::int64_t first = row * shape.width;
    const Real* x = norm.residual + first;
    if (norm.branch != nullptr) {
      add(shape.width, x, norm.branch + first, norm.sum + first);
      x = norm.sum + first;
    }
    const Real squares = sum_over<Real>(shape.width, [&](std::int64_t i) { return x[i] * x[i]; });
    const Real scale = Real(1) / std::sqrt(squares / static_cast<Real>(shape.width) + static_cast<Real>(norm.epsilon));
    Real* y = norm.normal + first;
    for (std::int64_t i = 0; i < shape.width; ++i) y[i] = x[i] * scale * norm.weight[i];
    norm.inverse_rms[row] = scale;
  });
}

template <typename Real>
void norm_rows_backward(const NormShape& shape, const NormBackward<Real>& norm) {
  for_rows(shape, [&](std::int64_t row) {
    const std::int64_t width = shape.width, first = row * width;
    const Real *x = norm.sum + first, *dy = norm.dnormal + first, *w = norm.weight, scale = norm.inverse_rms[row];
    const Real dot = sum_over<Real>(width, [&](std::int64_t i) { return dy[i] * w[i] * x[i]; });
    const Real along_x = scale * scale * dot / static_cast<Real>(width);
    Real* dx = norm.dresidual + first;
    for (std::int64_t i = 0; i < width; ++i) dx[i] = scale * (dy[i] * w[i] - x[i] * along_x);
    if (norm.dsum != nullptr) add(width, dx, norm.dsum + first, dx);
  });
  weight_gradient(shape, norm);
}

template void norm_rows<float>(const NormShape&, const NormForward<float>&);
template void norm_rows<double>(const NormShape&, const NormForward<double>&);
template void norm_rows_backward<float>(const NormShape&, const NormBackward<float>&);
template void norm_rows_backward<double>(const NormShape&, const NormBackward<double>&);

}  // namespace colonnade
