// RMS normalisation on the CPU, with the residual's addition in the same pass: what the primitive add_rms_norm comes to
// there. Rows are shared among the threads; no sum depends on their number.
#pragma once

#include <cstdint>

namespace colonnade {

struct NormShape {
  std::int64_t rows = 0, width = 0;
};

template <typename Real>
struct NormForward {
  const Real* residual = nullptr;
  const Real* branch = nullptr;  // or null: the sum is the residual, and not written
  const Real* weight = nullptr;  // [width]
  double epsilon = 0;
  Real* sum = nullptr;
  Real* normal = nullptr;       // sum * inverse_rms * weight
  Real* inverse_rms = nullptr;  // [rows], 1 / sqrt(mean of the sum's squares + epsilon)
};

template <typename Real>
struct NormBackward {
  const Real* dnormal = nullptr;
  const Real* dsum = nullptr;  // or null: nothing else reads the sum
  const Real* sum = nullptr;
  const Real* weight = nullptr;
  const Real* inverse_rms = nullptr;
  Real* dresidual = nullptr;  // by the sum, and so by either addend
  Real* dweight = nullptr;
};

template <typename Real>
void norm_rows(const NormShape& shape, const NormForward<Real>& norm);
template <typename Real>
void norm_rows_backward(const NormShape& shape, const NormBackward<Real>& norm);

}  // namespace colonnade
