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

// Samples that a row's sum is kept for at once, in registers; few samples take the narrow one.
constexpr std::int64_t wide_block = 32, narrow_block = 8;
constexpr std::int64_t grain = 16;  // rows a task takes at least

// Samples go in blocks: of each feature a block's samples lie together, and the features of a block next to one
// another, so that what random columns read stays in a near cache.
template <typename Real, typename Index>
struct Operands {
  const std::int32_t* offsets;
  const Index* indices;
  const Real* values;
  const Real* x;  // [blocks, width, block]
  std::int64_t width, height, blocks, block;
  Real* y;  // [blocks, height, block]
};

template <std::int64_t block, typename Real, typename Index>
inline __attribute__((always_inline)) void block_rows(const Operands<Real, Index>& in, std::int64_t begin,
                                                      std::int64_t end) {
  for (std::int64_t b = 0; b < in.blocks; ++b) {
    const Real* features = in.x + b * in.width * block;
    for (std::int64_t row = begin; row < end; ++row) {
      Real sums[block] = {};
      for (std::int32_t k = in.offsets[row]; k < in.offsets[row + 1]; ++k) {
        const Real* x = features + static_cast<std::int64_t>(in.indices[k]) * block;
        const Real value = in.values[k];
        for (std::int64_t i = 0; i < block; ++i) sums[i] += value * x[i];
      }
      std::memcpy(in.y + (b * in.height + row) * block, sums, sizeof(sums));
    }
  }
}

template <typename Real, typename Index>
inline __attribute__((always_inline)) void all_rows(const Operands<Real, Index>& in, std::int64_t begin,
                                                    std::int64_t end) {
  if (in.block == wide_block) {
    block_rows<wide_block>(in, begin, end);
  } else {
    block_rows<narrow_block>(in, begin, end);
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

// features [blocks, width, block] -> [blocks, height, block]
template <typename Real, typename Index>
Tensor multiply(const RunningForm& form, const Tensor& features) {
  const std::int64_t blocks = features.size(0), block = features.size(2);
  Tensor result = at::empty({blocks, form.height, block}, features.options());
  const Operands<Real, Index> in{form.offsets.const_data_ptr<std::int32_t>(),
                                 indices_of<Index>(form.indices),
                                 form.values.const_data_ptr<Real>(),
                                 features.const_data_ptr<Real>(),
                                 form.width,
                                 form.height,
                                 blocks,
                                 block,
                                 result.data_ptr<Real>()};
  at::parallel_for(0, form.height, grain, [&](std::int64_t begin, std::int64_t end) { rows_of(in, begin, end); });
  return result;
}

template <typename Real>
Tensor multiply_type(const RunningForm& form, const Tensor& features) {
  return form.indices.scalar_type() == at::kShort ? multiply<Real, std::uint16_t>(form, features)
                                                  : multiply<Real, std::int32_t>(form, features);
}

}  // namespace

Tensor sparse_product(const RunningForm& form, const Tensor& x) {
  const std::int64_t given = x.size(0), block = given > narrow_block ? wide_block : narrow_block;
  const std::int64_t samples = (given + block - 1) / block * block;
  const Tensor padded = samples > given ? at::constant_pad_nd(x, {0, 0, 0, samples - given}) : x;
  const Tensor features = padded.reshape({-1, block, form.width}).transpose(1, 2).contiguous();
  const Tensor result =
      x.scalar_type() == at::kDouble ? multiply_type<double>(form, features) : multiply_type<float>(form, features);
  return result.transpose(1, 2).reshape({samples, form.height}).narrow(0, 0, given).contiguous();
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
