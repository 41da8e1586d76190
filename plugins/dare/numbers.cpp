#include "numbers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "wide_versions.h"

namespace colonnade::dare {

namespace {

constexpr int kHalfMantissa = 10, kFloatMantissa = 23;
constexpr int kMantissaCut = kFloatMantissa - kHalfMantissa;
constexpr std::uint32_t kSign = 0x80000000, kFloatInfinity = 0x7F800000, kHalfInfinity = 0x7C00;
// What turns an exponent of 5 bits into one of 8 bits, by multiplying.
constexpr float kHalfBias = 0x1p112F;
constexpr float kLeastNormalHalf = 0x1p-14F, kBeyondHalf = 65520.0F;
// Added to a number below the least normal half, it leaves the half's bits at the end of its own.
constexpr float kSubnormalShift = 0.5F;

inline float from_half(std::uint16_t bits) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7FFF) << kMantissaCut;
  const auto sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t scaled = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * kHalfBias);
  const std::uint32_t special = magnitude | kFloatInfinity;
  return std::bit_cast<float>(((bits & kHalfInfinity) == kHalfInfinity ? special : scaled) | sign);
}

inline std::uint16_t to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & ~kSign;
  const float size = std::bit_cast<float>(magnitude);
  // To nearest, ties to even: a carry out of the mantissa goes into the exponent, where it belongs.
  const std::uint32_t odd = magnitude >> kMantissaCut & 1;
  constexpr std::uint32_t bias = std::uint32_t{112} << kFloatMantissa, below_half = (1U << (kMantissaCut - 1)) - 1;
  const std::uint32_t normal = (magnitude - bias + below_half + odd) >> kMantissaCut;
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(size + kSubnormalShift) - std::bit_cast<std::uint32_t>(kSubnormalShift);
  const std::uint32_t nan = magnitude > kFloatInfinity ? 0x7E00 : kHalfInfinity;
  const std::uint32_t finite = size < kLeastNormalHalf ? subnormal : normal;
  // Written so that a NaN, which is less than nothing, is taken for special.
  const std::uint32_t rounded = size < kBeyondHalf ? finite : nan;
  return static_cast<std::uint16_t>(rounded | (bits & kSign) >> 16);
}

inline float from_bfloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline std::uint16_t to_bfloat(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  const std::uint32_t quiet = bits >> 16 | 0x40;
  return static_cast<std::uint16_t>((bits & ~kSign) > kFloatInfinity ? quiet : rounded);
}

COLONNADE_WIDE_VERSIONS void halves(const std::uint16_t* in, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = from_half(in[i]);
}
COLONNADE_WIDE_VERSIONS void bfloats(const std::uint16_t* in, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = from_bfloat(in[i]);
}

COLONNADE_WIDE_VERSIONS bool subtract_floats(const float* values, const float* base, std::int64_t count, float* out) {
  std::uint32_t special = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = values[i] - base[i];
    special |= (std::bit_cast<std::uint32_t>(out[i]) & kFloatInfinity) == kFloatInfinity ? 1U : 0U;
  }
  return special == 0;
}

COLONNADE_WIDE_VERSIONS bool add_floats(const float* base, const float* values, std::int64_t count, float* out) {
  std::uint32_t special = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = base[i] + values[i];
    special |= (std::bit_cast<std::uint32_t>(out[i]) & kFloatInfinity) == kFloatInfinity ? 1U : 0U;
  }
  return special == 0;
}

COLONNADE_WIDE_VERSIONS bool add_halves(const float* base, const float* values, std::int64_t count,
                                        std::uint16_t* out) {
  std::uint32_t special = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = to_half(base[i] + values[i]);
    special |= (out[i] & kHalfInfinity) == kHalfInfinity ? 1U : 0U;
  }
  return special == 0;
}

COLONNADE_WIDE_VERSIONS bool add_bfloats(const float* base, const float* values, std::int64_t count,
                                         std::uint16_t* out) {
  constexpr std::uint32_t infinity = kFloatInfinity >> 16;
  std::uint32_t special = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = to_bfloat(base[i] + values[i]);
    special |= (out[i] & infinity) == infinity ? 1U : 0U;
  }
  return special == 0;
}

template <typename Element>
const Element* as(const std::byte* bytes) {
  return reinterpret_cast<const Element*>(bytes);
}

}  // namespace

std::size_t size_of(Number type) {
  switch (type) {
    case Number::f16:
    case Number::bf16:
      return sizeof(std::uint16_t);
    case Number::f32:
      return sizeof(float);
    default:
      return sizeof(double);
  }
}

template <>
void widen<float>(Number type, const std::byte* bytes, std::int64_t count, float* out) {
  if (type == Number::f16) return halves(as<std::uint16_t>(bytes), count, out);
  if (type == Number::bf16) return bfloats(as<std::uint16_t>(bytes), count, out);
  std::copy_n(as<float>(bytes), count, out);
}

template <>
void widen<double>(Number type, const std::byte* bytes, std::int64_t count, double* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    switch (type) {
      case Number::f16:
        out[i] = from_half(as<std::uint16_t>(bytes)[i]);
        break;
      case Number::bf16:
        out[i] = from_bfloat(as<std::uint16_t>(bytes)[i]);
        break;
      case Number::f32:
        out[i] = as<float>(bytes)[i];
        break;
      default:
        out[i] = as<double>(bytes)[i];
    }
  }
}

template <>
bool subtract<float>(const float* values, const float* base, std::int64_t count, float* out) {
  return subtract_floats(values, base, count, out);
}

template <>
bool subtract<double>(const double* values, const double* base, std::int64_t count, double* out) {
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = values[i] - base[i];
    finite = finite && std::isfinite(out[i]);
  }
  return finite;
}

template <>
bool add_narrow<float>(Number type, const float* base, const float* values, std::int64_t count, std::byte* out) {
  if (type == Number::f16) return add_halves(base, values, count, reinterpret_cast<std::uint16_t*>(out));
  if (type == Number::bf16) return add_bfloats(base, values, count, reinterpret_cast<std::uint16_t*>(out));
  return add_floats(base, values, count, reinterpret_cast<float*>(out));
}

// Of two doubles the sum is rounded to float first: where types are mixed with f64, sixteen bits are rounded twice.
template <>
bool add_narrow<double>(Number type, const double* base, const double* values, std::int64_t count, std::byte* out) {
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) {
    const double sum = base[i] + values[i];
    if (type == Number::f64) {
      reinterpret_cast<double*>(out)[i] = sum;
      finite = finite && std::isfinite(sum);
      continue;
    }
    const float zero = 0, single = static_cast<float>(sum);
    finite = add_narrow<float>(type, &single, &zero, 1, out + static_cast<std::size_t>(i) * size_of(type)) && finite;
  }
  return finite;
}

}  // namespace colonnade::dare
