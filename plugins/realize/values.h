// What numbers become when they are stored.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bytes.h"
#include "colonnade/schema.h"
#include "colonnade/tensor/tensor.h"

namespace colonnade::realize {

///   fp32, fp16, bf16   the nearest number of that type
///   int8               q s with q in -127 .. 127, one s a group: the largest size / 127, rounded up to 16 bits
///   sign               +s or -s, one s a group: the mean size of what is not zero
enum class ValueType : std::uint8_t { fp32, fp16, bf16, int8, sign };

/// The parameter `values` of ops, and what it says.
Param values_param();
ValueType value_type(const std::string& name);
const char* value_type_name(ValueType type);
int bits_of(ValueType type);

/// What a group of numbers with one scale is.
enum class Groups { whole, rows };

/// The matrix as it comes back from being stored: f32, contiguous. Zeros stay zero, and rounding again changes nothing.
/// Throws Error(input) naming `what` where the type cannot hold a number.
Tensor round_values(const Tensor& matrix, ValueType type, Groups groups, const std::string& what);

/// Bytes of a group of `count` numbers.
std::uint64_t group_size(ValueType type, std::uint64_t count);
/// Numbers that `round_values` gave, all of one group (zeros of it may be left out). `sign` takes no zeros.
void write_group(ByteWriter& writer, ValueType type, std::span<const float> values);
void read_group(ByteReader& reader, ValueType type, std::span<float> values);

}  // namespace colonnade::realize
