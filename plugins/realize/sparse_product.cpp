#include "sparse_product.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// Lanes are independent and products are added one by one, so that every width gives the same bits.
#define COLONNADE_WIDE_VERSIONS __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define COLONNADE_WIDE_VERSIONS
#endif

namespace colonnade::realize {

namespace {

// Samples that a row's sum is kept for at once, in registers.
constexpr std::int64_t wide_block = 32, narrow_block = 8;
constexpr std::int64_t grain = 16;  // rows a task takes at least

template <typename Real, typename Index>
struct Operands {
  const std::int32_t* offsets;
  const Index* indices;
  const Real* values;
  const Real* x;         // [width, samples]: a feature's samples lie together
  std::int64_t samples;  // a multiple of narrow_block
  Real* y;               // [height, samples]
};

template <std::int64_t block, typename Real, typename Index>
inline __attribute__((always_inline)) void row_block(const Operands<Real, Index>& in, std::int64_t row,
                                                     std::int64_t sample) {
  Real sums[block] = {};
  for (std::int32_t k = in.offsets[row]; k < in.offsets[row + 1]; ++k) {
    const Real* x = in.x + static_cast<std::int64_t>(in.indices[k]) * in.samples + sample;
    const Real value = in.values[k];
    for (std::int64_t i = 0; i < block; ++i) sums[i] += value * x[i];
  }
  std::memcpy(in.y + row * in.samples + sample, sums, sizeof(sums));
}

template <typename Real, typename Index>
inline __attribute__((always_inline)) void all_rows(const Operands<Real, Index>& in, std::int64_t begin,
                                                    std::int64_t end) {
  std::int64_t sample = 0;
  for (; sample + wide_block <= in.samples; sample += wide_block) {
    for (std::int64_t row = begin; row < end; ++row) row_block<wide_block>(in, row, sample);
  }
  for (; sample < in.samples; sample += narrow_block) {
    for (std::int64_t row = begin; row < end; ++row) row_block<narrow_block>(in, row, sample);
  }
}

// Versions for machines cannot be templates.
COLONNADE_WIDE_VERSIONS void rows_of(const Operands<float, std::uint16_t>& in, std::int64_t begin, std::int64_t end) {
  all_rows(in, begin, end);
}
COLONNADE_WIDE_VERSIONS void rows_of(const Operands<float, std::int32_t>& in, std::int64_t begin, std::int64_t end) {
  all_rows(in, begin, end);
}
COLONNADE_WIDE_VERSIONS void rows_of(const Operands<double, std::uint16_t>& in, std::int64_t begin, std::int64_t end) {
  all_rows(in, begin, end);
}
COLONNADE_WIDE_VERSIONS void rows_of(const Operands<double, std::int32_t>& in, std::int64_t begin, std::int64_t end) {
  all_rows(in, begin, end);
}

template <typename Index>
const Index* indices_of(const Tensor& indices) {
  return static_cast<const Index*>(indices.const_data_ptr());
}

template <typename Real, typename Index>
Tensor multiply(const RunningForm& form, const Tensor& features, std::int64_t samples) {
  Tensor result = at::empty({form.height, samples}, features.options());
  const Operands<Real, Index> in{form.offsets.const_data_ptr<std::int32_t>(),
                                 indices_of<Index>(form.indices),
                                 form.values.const_data_ptr<Real>(),
                                 features.const_data_ptr<Real>(),
                                 samples,
                                 result.data_ptr<Real>()};
  at::parallel_for(0, form.height, grain, [&](std::int64_t begin, std::int64_t end) { rows_of(in, begin, end); });
  return result;
}

template <typename Real>
Tensor multiply_type(const RunningForm& form, const Tensor& features, std::int64_t samples) {
  return form.indices.scalar_type() == at::kShort ? multiply<Real, std::uint16_t>(form, features, samples)
                                                  : multiply<Real, std::int32_t>(form, features, samples);
}

}  // namespace

Tensor sparse_product(const RunningForm& form, const Tensor& x) {
  const std::int64_t given = x.size(0);
  const std::int64_t samples = (given + narrow_block - 1) / narrow_block * narrow_block;
  Tensor features = at::empty({form.width, samples}, x.options());
  features.narrow(1, 0, given).copy_(x.t());
  if (samples > given) features.narrow(1, given, samples - given).zero_();
  const Tensor result = x.scalar_type() == at::kDouble ? multiply_type<double>(form, features, samples)
                                                       : multiply_type<float>(form, features, samples);
  return result.narrow(1, 0, given).t().contiguous();
}

Tensor sparse_product_plain(const RunningForm& form, const Tensor& x) {
  Tensor result = at::zeros({x.size(0), form.height}, x.options());
  const auto* offsets = form.offsets.const_data_ptr<std::int32_t>();
  const Tensor values = form.values.reshape({-1});
  const bool is_short = form.indices.scalar_type() == at::kShort;
  for (std::int64_t row = 0; row < form.height; ++row) {
    for (std::int32_t k = offsets[row]; k < offsets[row + 1]; ++k) {
      const std::int64_t column =
          is_short ? indices_of<std::uint16_t>(form.indices)[k] : indices_of<std::int32_t>(form.indices)[k];
      result.select(1, row).add_(values[k] * x.select(1, column));
    }
  }
  return result;
}

}  // namespace colonnade::realize
