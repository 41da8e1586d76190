#include "thin_product.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace colonnade {

namespace {

constexpr std::int64_t most_rows = 4;  // of x
constexpr std::int64_t lanes = 8;
constexpr std::int64_t elements_a_task = 32768;

bool wants_gradient(const Tensor& tensor) {
  return tensor.defined() && tensor.requires_grad();
}

#if defined(__x86_64__)

bool has_avx2() {
  static const bool has =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  return has;
}

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"

using Lanes = float __attribute__((vector_size(lanes * sizeof(float))));
using Words = std::uint32_t __attribute__((vector_size(lanes * sizeof(std::uint32_t))));
using Halves = std::uint16_t __attribute__((vector_size(lanes * sizeof(std::uint16_t))));

template <typename Vector>
inline __attribute__((always_inline)) Vector load(const void* from) {
  Vector value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

inline __attribute__((always_inline)) Lanes widen(const float* from) {
  return load<Lanes>(from);
}
inline __attribute__((always_inline)) Lanes widen(const at::BFloat16* from) {
  constexpr int low_bits = 16;
  return (Lanes)(__builtin_convertvector(load<Halves>(from), Words) << low_bits);
}
inline __attribute__((always_inline)) Lanes widen(const at::Half* from) {
  using Shorts = short __attribute__((vector_size(lanes * sizeof(short))));
  return __builtin_ia32_vcvtph2ps256(load<Shorts>(from));
}

inline __attribute__((always_inline)) float sum_of(Lanes v) {
  return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}

// What one task is given: rows of x and of W, all `in` long.
template <typename Weight>
struct Operands {
  const float* x;
  const Weight* weight;
  const float* bias;  // or nullptr
  float* y;           // [rows of x, out]
  std::int64_t in, out;
};

// How a matrix is read. Rows side by side are streams that the processor reads ahead by itself, and by several at once
// it reads faster than by one; a stream alone is asked of memory beforehand (the processor looks no further than the
// end of a page), into the second level of the cache, which may wait for more lines at once than the first. Halves take
// longer to widen than side by side would gain.
template <typename Weight>
constexpr bool side_by_side = std::is_same_v<Weight, float>;
constexpr int most_sums = 8;  // that fit into registers beside what they are made of
template <typename Weight, int kRows>
constexpr int rows_at_once = side_by_side<Weight> ? most_sums / (kRows == 3 ? 4 : kRows) : 1;
// Of a sum: where a row is alone, as many as hide the latency of one.
template <typename Weight>
constexpr int parts = side_by_side<Weight> ? 1 : 4;

template <typename Weight>
inline __attribute__((always_inline)) void ask_ahead(const Weight* at) {
  constexpr std::int64_t ahead_bytes = 4096, line_bytes = 64;
  constexpr int reading = 0, second_level = 2;  // as the builtin counts
  for (std::size_t line = 0; line < lanes * parts<Weight> * sizeof(Weight); line += line_bytes) {
    __builtin_prefetch(reinterpret_cast<const char*>(at) + ahead_bytes + line, reading, second_level);
  }
}

// Sums of kAtOnce rows of W with kRows rows of x. A sum is the same whatever else is computed beside it.
template <int kRows, int kAtOnce, typename Weight>
inline __attribute__((always_inline)) void dot(const Operands<Weight>& on, std::int64_t row) {
  constexpr int kParts = parts<Weight>;
  constexpr std::int64_t step = lanes * kParts;
  Lanes sums[kAtOnce][kRows][kParts] = {};
  const Weight* weight = on.weight + row * on.in;
  const std::int64_t whole = on.in - on.in % step, in_lanes = on.in - on.in % lanes;
  const auto add = [&](std::int64_t i, int part) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int r = 0; r < kAtOnce; ++r) {
      const Lanes w = widen(weight + r * on.in + i);
#pragma GCC unroll 4
      for (int m = 0; m < kRows; ++m) sums[r][m][part] += w * load<Lanes>(on.x + m * on.in + i);
    }
  };
  for (std::int64_t i = 0; i < whole; i += step) {
    if constexpr (!side_by_side<Weight>) ask_ahead(weight + i);
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) add(i + part * lanes, part);
  }
  for (std::int64_t i = whole; i < in_lanes; i += lanes) add(i, 0);
  for (int r = 0; r < kAtOnce; ++r) {
    for (int m = 0; m < kRows; ++m) {
      Lanes all = sums[r][m][0];
      for (int part = 1; part < kParts; ++part) all += sums[r][m][part];
      float sum = sum_of(all);
      for (std::int64_t i = in_lanes; i < on.in; ++i) {
        sum += static_cast<float>(weight[r * on.in + i]) * on.x[m * on.in + i];
      }
      on.y[m * on.out + row + r] = on.bias == nullptr ? sum : sum + on.bias[row + r];
    }
  }
}

template <int kRows, typename Weight>
void multiply(const Operands<Weight>& on, std::int64_t begin, std::int64_t end) {
  constexpr int at_once = rows_at_once<Weight, kRows>;
  std::int64_t row = begin;
  for (; row + at_once <= end; row += at_once) dot<kRows, at_once>(on, row);
  for (; row < end; ++row) dot<kRows, 1>(on, row);
}

#pragma GCC diagnostic pop
#pragma GCC pop_options

template <typename Weight>
void multiply(const Operands<Weight>& on, std::int64_t rows) {
  constexpr void (*by_rows[])(const Operands<Weight>&, std::int64_t, std::int64_t) = {
      multiply<1, Weight>, multiply<2, Weight>, multiply<3, Weight>, multiply<4, Weight>};
  const auto work = by_rows[rows - 1];
  // Each thread takes the next rows when it is done with its last: none waits for one that the machine holds up.
  const std::int64_t step = std::max<std::int64_t>(most_sums, elements_a_task / on.in / most_sums * most_sums);
  const std::int64_t threads = std::min<std::int64_t>(at::get_num_threads(), (on.out + step - 1) / step);
  std::atomic<std::int64_t> next = 0;
  at::parallel_for(0, threads, 1, [&](std::int64_t, std::int64_t) {
    for (std::int64_t first = next.fetch_add(step); first < on.out; first = next.fetch_add(step)) {
      work(on, first, std::min(first + step, on.out));
    }
  });
}

#endif

}  // namespace

bool is_thin_product(const Tensor& x, const Tensor& weight, const Tensor& bias) {
#if defined(__x86_64__)
  const auto type = weight.scalar_type();
  const bool known = type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
  if (!known || x.scalar_type() != at::kFloat || !x.is_cpu() || !weight.is_cpu() || !has_avx2()) return false;
  if (weight.dim() != 2 || !weight.is_contiguous() || x.numel() == 0) return false;
  if (x.numel() > most_rows * weight.size(1) || x.size(-1) != weight.size(1)) return false;
  if (bias.defined() && (bias.scalar_type() != at::kFloat || !bias.is_contiguous())) return false;
  return !at::GradMode::is_enabled() || !(wants_gradient(x) || wants_gradient(weight) || wants_gradient(bias));
#else
  return (void)x, (void)weight, (void)bias, false;
#endif
}

Tensor thin_product([[maybe_unused]] const Tensor& x, const Tensor& weight, [[maybe_unused]] const Tensor& bias) {
  auto shape = x.sizes().vec();
  shape.back() = weight.size(0);
  Tensor y = at::empty(shape, x.options().requires_grad(false));
#if defined(__x86_64__)
  const Tensor dense = x.contiguous();
  const auto run = [&](auto* data) {
    multiply(
        Operands<std::remove_const_t<std::remove_pointer_t<decltype(data)>>>{
            dense.const_data_ptr<float>(), data, bias.defined() ? bias.const_data_ptr<float>() : nullptr,
            y.mutable_data_ptr<float>(), weight.size(1), weight.size(0)},
        x.numel() / weight.size(1));
  };
  if (weight.scalar_type() == at::kBFloat16) {
    run(weight.const_data_ptr<at::BFloat16>());
  } else if (weight.scalar_type() == at::kHalf) {
    run(weight.const_data_ptr<at::Half>());
  } else {
    run(weight.const_data_ptr<float>());
  }
#endif
  return y;
}

}  // namespace colonnade
