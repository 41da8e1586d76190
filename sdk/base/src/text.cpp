#include "colonnade/text.h"

#include <cmath>
#include <cstdint>

namespace colonnade {
namespace {

constexpr std::size_t kLongestShown = 60;
constexpr std::string_view kCut = "...";

bool continues(char c) {
  constexpr unsigned char kMask = 0xC0, kContinuation = 0x80;
  return (static_cast<unsigned char>(c) & kMask) == kContinuation;
}

// Bytes of the sequence that starts with `lead`; 0 for a byte that starts none.
std::size_t sequence_length(unsigned char lead) {
  constexpr unsigned char kTwo = 0xC2, kThree = 0xE0, kFour = 0xF0, kBeyond = 0xF5, kAscii = 0x80;
  if (lead < kAscii) return 1;
  if (lead < kTwo || lead >= kBeyond) return 0;
  return lead < kThree ? 2 : lead < kFour ? 3 : 4;
}

std::uint32_t code_point(std::string_view sequence) {
  constexpr unsigned kBits = 6;
  constexpr unsigned char kPayload = 0x3F;
  const unsigned char lead_payload[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  std::uint32_t code = static_cast<unsigned char>(sequence[0]) & lead_payload[sequence.size()];
  for (const char c : sequence.substr(1)) code = code << kBits | (static_cast<unsigned char>(c) & kPayload);
  return code;
}

bool is_character(std::string_view sequence) {
  for (const char c : sequence.substr(1)) {
    if (!continues(c)) return false;
  }
  constexpr std::uint32_t kFirstOfThree = 0x800, kFirstOfFour = 0x10000, kLast = 0x10FFFF;
  constexpr std::uint32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;
  const std::uint32_t code = code_point(sequence);
  if (sequence.size() == 3 && code < kFirstOfThree) return false;
  if (sequence.size() == 4 && code < kFirstOfFour) return false;
  return code <= kLast && (code < kFirstSurrogate || code > kLastSurrogate);
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(static_cast<unsigned char>(text[at]));
    if (length == 0 || length > text.size() - at || !is_character(text.substr(at, length))) return false;
    at += length;
  }
  return true;
}

std::string shortened(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  if (most <= kCut.size()) return std::string(kCut.substr(0, most));
  std::size_t end = most - kCut.size();
  while (end > 0 && continues(text[end])) --end;
  return text.substr(0, end).append(kCut);
}

std::string json_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shown(const Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const auto number = value.get<double>();
    return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
  }
  return shortened(json_text(value), kLongestShown);
}

}  // namespace colonnade
