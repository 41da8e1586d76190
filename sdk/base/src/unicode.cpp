#include "colonnade/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "colonnade/error.h"
#include "unicode_ranges.h"

namespace colonnade {

namespace {

constexpr char32_t kReplacement = 0xFFFD;

template <std::size_t size>
bool within(const CodeRange (&ranges)[size], char32_t code) {
  const CodeRange* after = std::upper_bound(std::begin(ranges), std::end(ranges), code,
                                            [](char32_t value, const CodeRange& range) { return value < range.first; });
  return after != std::begin(ranges) && code <= std::prev(after)->last;
}

const utf8proc_uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

// The character at `at` and how many bytes it has; none where the bytes are no UTF-8.
utf8proc_ssize_t read_character(std::string_view text, std::size_t at, utf8proc_int32_t& code) {
  return utf8proc_iterate(bytes_of(text) + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
}

}  // namespace

CharacterKind kind_of(char32_t code) {
  if (within(kLetters, code)) return CharacterKind::letter;
  if (within(kNumbers, code)) return CharacterKind::number;
  return within(kSpaces, code) ? CharacterKind::space : CharacterKind::other;
}

void append_utf8(std::string& text, char32_t code) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t count = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count));
}

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> codes;
  codes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto used = read_character(text, at, code);
    if (used <= 0) throw Error(ErrorKind::input, "a text is not well-formed UTF-8 at byte " + std::to_string(at));
    codes.push_back(static_cast<char32_t>(code));
    at += static_cast<std::size_t>(used);
  }
  return codes;
}

std::string well_formed(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto used = read_character(text, at, code);
    append_utf8(result, used > 0 ? static_cast<char32_t>(code) : kReplacement);
    at += used > 0 ? static_cast<std::size_t>(used) : 1;
  }
  return result;
}

std::string composed(std::string_view text) {
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(bytes_of(text), static_cast<utf8proc_ssize_t>(text.size()), &raw,
                                             static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(raw, &std::free);
  if (size < 0) throw Error(ErrorKind::input, std::string("a text cannot be normalised: ") + utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(raw), static_cast<std::size_t>(size)};
}

}  // namespace colonnade
