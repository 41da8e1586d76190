#include "kernel/study/compare_fields.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "colonnade/encode.h"

namespace colonnade::host {
namespace {

double from_half(std::uint16_t bits) {
  constexpr int mantissa_bits = 10, exponent_mask = 0x1F, bias = 15;
  const double sign = bits & 0x8000 ? -1 : 1;
  const int exponent = bits >> mantissa_bits & exponent_mask;
  const int mantissa = bits & 0x3FF;
  if (exponent == exponent_mask) {
    return mantissa ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

double from_bfloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Gathers the largest differences of one tensor, or of a document's numbers.
struct Part {
  double max_absolute = 0, largest = 0;
  bool not_a_number = false;

  void add(double now, double recorded) {
    if (std::isnan(now) || std::isnan(recorded) || std::isinf(now) || std::isinf(recorded)) {
      not_a_number = not_a_number || !(now == recorded || (std::isnan(now) && std::isnan(recorded)));
      return;
    }
    max_absolute = std::max(max_absolute, std::fabs(now - recorded));
    largest = std::max(largest, std::fabs(recorded));
  }
  double relative() const {
    if (not_a_number) return std::numeric_limits<double>::infinity();
    if (max_absolute == 0) return 0;
    return largest == 0 ? std::numeric_limits<double>::infinity() : max_absolute / largest;
  }
};

void take(FieldDifference& difference, const Part& part, const std::string& name) {
  const double absolute = part.not_a_number ? std::numeric_limits<double>::infinity() : part.max_absolute;
  difference.max_absolute = std::max(difference.max_absolute, absolute);
  if (part.relative() <= difference.max_relative && !difference.worst.empty()) return;
  if (part.relative() == 0) return;
  difference.max_relative = part.relative();
  difference.worst = name;
}

void mark(FieldDifference& difference, const std::string& name) {
  ++difference.differing;
  difference.comparable = false;
  if (difference.worst.empty()) difference.worst = name;
}

void compare_documents(const Json& now, const Json& recorded, const std::string& name, Part& part,
                       FieldDifference& difference) {
  if (now.is_number() && recorded.is_number()) {
    ++difference.elements;
    if (encode(now) == encode(recorded)) return;
    ++difference.differing;
    if (difference.worst.empty()) difference.worst = name;
    part.add(now.get<double>(), recorded.get<double>());
    return;
  }
  const bool same_size = now.type() == recorded.type() && now.size() == recorded.size();
  if (same_size && now.is_array()) {
    for (std::size_t i = 0; i < now.size(); ++i) {
      compare_documents(now[i], recorded[i], fmt::format("{}[{}]", name, i), part, difference);
    }
  } else if (now.is_object() && recorded.is_object()) {
    std::set<std::string> keys;
    for (const auto& item : now.items()) keys.insert(item.key());
    for (const auto& item : recorded.items()) keys.insert(item.key());
    for (const std::string& key : keys) {
      const std::string inner = name.empty() ? key : name + "." + key;
      if (!now.contains(key) || !recorded.contains(key)) {
        mark(difference, inner);
      } else {
        compare_documents(now.at(key), recorded.at(key), inner, part, difference);
      }
    }
  } else if (now != recorded) {
    mark(difference, name);
  }
}

void compare_tensors(const Blob& now, const Blob& recorded, const std::string& name, FieldDifference& difference) {
  if (now.dtype() != recorded.dtype() || now.shape() != recorded.shape()) return mark(difference, name);
  difference.elements += now.elements();
  const std::size_t size = dtype_size(now.dtype());
  if (std::memcmp(now.data(), recorded.data(), now.size()) == 0) return;
  Part part;
  for (std::int64_t i = 0; i < now.elements(); ++i) {
    const double b = element_of(recorded, i);
    part.add(std::memcmp(now.data() + i * size, recorded.data() + i * size, size) == 0 ? b : element_of(now, i), b);
    difference.differing += std::memcmp(now.data() + i * size, recorded.data() + i * size, size) != 0;
  }
  take(difference, part, name);
  if (difference.worst.empty()) difference.worst = name;
}

}  // namespace

double element_of(const Blob& blob, std::int64_t index) {
  switch (blob.dtype()) {
    case DType::boolean:
    case DType::u8:
      return blob.as<std::uint8_t>()[index];
    case DType::i8:
      return blob.as<std::int8_t>()[index];
    case DType::i16:
      return blob.as<std::int16_t>()[index];
    case DType::i32:
      return blob.as<std::int32_t>()[index];
    case DType::i64:
      return static_cast<double>(blob.as<std::int64_t>()[index]);
    case DType::f16:
      return from_half(blob.as<std::uint16_t>()[index]);
    case DType::bf16:
      return from_bfloat(blob.as<std::uint16_t>()[index]);
    case DType::f32:
      return blob.as<float>()[index];
    case DType::f64:
      return blob.as<double>()[index];
  }
  return 0;
}

FieldDifference compare_fields(const Field& now, const Field& recorded) {
  FieldDifference difference;
  if (now.type != recorded.type) mark(difference, "type");
  Part document;
  compare_documents(now.document, recorded.document, "", document, difference);
  take(difference, document, "document");
  std::set<std::string> names;
  for (const auto& [name, blob] : now.tensors) names.insert(name);
  for (const auto& [name, blob] : recorded.tensors) names.insert(name);
  for (const std::string& name : names) {
    const auto a = now.tensors.find(name), b = recorded.tensors.find(name);
    if (a == now.tensors.end() || b == recorded.tensors.end()) {
      mark(difference, name);
    } else {
      compare_tensors(a->second, b->second, name, difference);
    }
  }
  return difference;
}

std::string FieldDifference::text() const {
  const std::string where = worst.empty() ? "" : fmt::format(", most in {}", worst);
  if (!comparable) return fmt::format("{} parts differ in kind, shape or presence{}", differing, where);
  return fmt::format("{} of {} numbers differ, by at most {:.3g} (relative {:.3g}){}", differing, elements,
                     max_absolute, max_relative, where);
}

}  // namespace colonnade::host
