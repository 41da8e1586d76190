#include "values.h"

#include <ATen/Functions.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "colonnade/error.h"

namespace colonnade::realize {

namespace {

struct NamedType {
  const char* name;
  ValueType type;
  int bits;
};
constexpr std::array<NamedType, 5> types = {{{"fp32", ValueType::fp32, 32},
                                             {"fp16", ValueType::fp16, 16},
                                             {"bf16", ValueType::bf16, 16},
                                             {"int8", ValueType::int8, 8},
                                             {"sign", ValueType::sign, 1}}};

constexpr float largest_step = 127;
constexpr int byte_bits = 8;

/// Up to 16 significant bits: times 127 it is exact in a float, so that the scale of rounded numbers is found again.
float rounded_up(float value) {
  constexpr std::uint32_t low_bits = 0xFF;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + low_bits) & ~low_bits);
}

float scale_of(ValueType type, std::span<const float> values) {
  double sum = 0;
  float largest = 0;
  std::int64_t count = 0;
  for (const float value : values) {
    sum += std::abs(static_cast<double>(value));
    largest = std::max(largest, std::abs(value));
    count += value != 0 ? 1 : 0;
  }
  if (count == 0) return 0;
  if (type == ValueType::sign) return static_cast<float>(sum / static_cast<double>(count));
  const float scale = rounded_up(static_cast<float>(static_cast<double>(largest) / largest_step));
  return std::isnormal(scale) ? scale : 0;  // too small for 16 significant bits: all of it is zero
}

int step_of(float value, float scale) {
  return scale == 0 ? 0 : static_cast<int>(std::lrint(static_cast<double>(value) / scale));
}

bool has_scale(ValueType type) {
  return type == ValueType::int8 || type == ValueType::sign;
}

void round_group(ValueType type, std::span<float> values) {
  const float scale = scale_of(type, values);
  for (float& value : values) {
    if (value == 0) {
      value = 0;  // not -0
    } else if (type == ValueType::sign) {
      value = value < 0 ? -scale : scale;
    } else {
      value = static_cast<float>(step_of(value, scale)) * scale + 0.0F;
    }
  }
}

template <typename Half>
void write_halves(ByteWriter& writer, std::span<const float> values) {
  for (const float value : values) {
    const Half half(value);
    writer.plain(&half.x, sizeof(half.x));
  }
}

template <typename Half>
void read_halves(ByteReader& reader, std::span<float> values) {
  Half half;
  const std::string_view bytes = reader.plain(values.size() * sizeof(half.x));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::memcpy(&half.x, bytes.data() + i * sizeof(half.x), sizeof(half.x));
    values[i] = static_cast<float>(half);
  }
}

void write_signs(ByteWriter& writer, std::span<const float> values) {
  for (std::size_t at = 0; at < values.size(); at += byte_bits) {
    std::uint8_t bits = 0;
    for (std::size_t i = at; i < std::min(values.size(), at + byte_bits); ++i) {
      bits |= static_cast<std::uint8_t>((values[i] < 0 ? 1 : 0) << (i - at));
    }
    writer.byte(bits);
  }
}

float read_scale(ByteReader& reader) {
  const float scale = reader.number();
  if (!std::isfinite(scale) || scale < 0) reader.refuse("a scale in it is no size");
  return scale;
}

}  // namespace

Param values_param() {
  std::vector<std::string> names;
  for (const NamedType& each : types) names.emplace_back(each.name);
  return choice("values", names,
                "how numbers are stored; int8 and sign have one scale for a site's S, and for each column of U and V")
      .fall_back("fp32");
}

ValueType value_type(const std::string& name) {
  for (const NamedType& each : types) {
    if (name == each.name) return each.type;
  }
  throw Error(ErrorKind::usage, "'" + name + "' is no way to store numbers");
}

const char* value_type_name(ValueType type) {
  return types.at(static_cast<std::size_t>(type)).name;
}

int bits_of(ValueType type) {
  return types.at(static_cast<std::size_t>(type)).bits;
}

Tensor round_values(const Tensor& matrix, ValueType type, Groups groups, const std::string& what) {
  require_finite(matrix, what);
  Tensor rounded = matrix.detach().to(at::kFloat).contiguous();
  if (type == ValueType::fp16) rounded = rounded.to(at::kHalf).to(at::kFloat) + 0.0;
  if (type == ValueType::bf16) rounded = rounded.to(at::kBFloat16).to(at::kFloat) + 0.0;
  if (!at::isfinite(rounded).all().item<bool>()) {
    throw Error(ErrorKind::input, what + " holds numbers as large as " +
                                      std::to_string(matrix.abs().max().item<double>()) + ", which " +
                                      value_type_name(type) + " cannot hold; bf16 and fp32 reach 3e38");
  }
  if (!has_scale(type) || rounded.numel() == 0) return rounded;
  rounded = rounded.clone();
  const std::int64_t each = groups == Groups::rows ? rounded.numel() / rounded.size(0) : rounded.numel();
  float* values = rounded.data_ptr<float>();
  for (std::int64_t at = 0; at < rounded.numel(); at += each) {
    round_group(type, {values + at, static_cast<std::size_t>(each)});
  }
  return rounded;
}

std::uint64_t group_size(ValueType type, std::uint64_t count) {
  if (count == 0) return 0;
  return (has_scale(type) ? sizeof(float) : 0) +
         (count * static_cast<std::uint64_t>(bits_of(type)) + byte_bits - 1) / byte_bits;
}

void write_group(ByteWriter& writer, ValueType type, std::span<const float> values) {
  if (values.empty()) return;
  const float scale = has_scale(type) ? scale_of(type, values) : 0;
  if (has_scale(type)) writer.number(scale);
  switch (type) {
    case ValueType::fp32:
      return writer.plain(values.data(), values.size_bytes());
    case ValueType::fp16:
      return write_halves<c10::Half>(writer, values);
    case ValueType::bf16:
      return write_halves<c10::BFloat16>(writer, values);
    case ValueType::int8:
      for (const float value : values) writer.byte(static_cast<std::uint8_t>(step_of(value, scale)));
      return;
    case ValueType::sign:
      return write_signs(writer, values);
  }
}

void read_group(ByteReader& reader, ValueType type, std::span<float> values) {
  if (values.empty()) return;
  const float scale = has_scale(type) ? read_scale(reader) : 0;
  switch (type) {
    case ValueType::fp32:
      std::memcpy(values.data(), reader.plain(values.size_bytes()).data(), values.size_bytes());
      return;
    case ValueType::fp16:
      return read_halves<c10::Half>(reader, values);
    case ValueType::bf16:
      return read_halves<c10::BFloat16>(reader, values);
    case ValueType::int8: {
      const std::string_view steps = reader.plain(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(static_cast<std::int8_t>(steps[i])) * scale + 0.0F;
      }
      return;
    }
    case ValueType::sign: {
      const std::string_view bits = reader.plain((values.size() + byte_bits - 1) / byte_bits);
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = (bits[i / byte_bits] >> (i % byte_bits) & 1) != 0 ? -scale : scale;
      }
      return;
    }
  }
}

}  // namespace colonnade::realize
