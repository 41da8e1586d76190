// Numbers as they lie in files of weights, to and from the type that is computed in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace colonnade::dare {

enum class Number { f16, bf16, f32, f64 };
std::size_t size_of(Number type);

/// `Real` is float or double. f64 is not read or written as float.
template <typename Real>
void widen(Number type, const std::byte* bytes, std::int64_t count, Real* out);

/// out = values - base; out may be values. False if one of the differences is a NaN or an infinity.
template <typename Real>
bool subtract(const Real* values, const Real* base, std::int64_t count, Real* out);

/// out = base + values, rounded to the nearest, ties to even. False if one of them is no finite number of the type.
template <typename Real>
bool add_narrow(Number type, const Real* base, const Real* values, std::int64_t count, std::byte* out);

}  // namespace colonnade::dare
