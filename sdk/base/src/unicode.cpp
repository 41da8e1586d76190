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

// How many bytes of what is no UTF-8 a character could begin with (table 3-7 of the Unicode standard); at least 1.
std::size_t beginning_of_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned lead = byte(0);
  if (lead < 0xE0 || lead > 0xF4) return 1;
  const unsigned first = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned last = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < first || byte(1) > last) return 1;
  return lead >= 0xF0 && byte(2) >= 0x80 && byte(2) <= 0xBF ? 3 : 2;
}

// What the reference's composition does not know: marks that it takes for letters, and a vowel that it leaves alone.
bool is_later(utf8proc_int32_t code) {
  constexpr utf8proc_int32_t kLaterVowel = 0x11930;
  if (code == kLaterVowel) return true;
  return utf8proc_get_property(code)->combining_class != 0 && !within(kMarks, static_cast<char32_t>(code));
}

void append_composed(std::string& result, std::string_view text) {
  if (text.empty()) return;
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(bytes_of(text), static_cast<utf8proc_ssize_t>(text.size()), &raw,
                                             static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(raw, &std::free);
  if (size < 0) throw Error(ErrorKind::input, std::string("a text cannot be normalised: ") + utf8proc_errmsg(size));
  result.append(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(size));
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
    at += used > 0 ? static_cast<std::size_t>(used) : beginning_of_character(text.substr(at));
  }
  return result;
}

std::string composed(std::string_view text) {
  std::string result;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto used = static_cast<std::size_t>(std::max<utf8proc_ssize_t>(read_character(text, at, code), 1));
    if (is_later(code)) {
      append_composed(result, text.substr(begin, at - begin));
      result += text.substr(at, used);
      begin = at + used;
    }
    at += used;
  }
  append_composed(result, text.substr(begin));
  return result;
}

}  // namespace colonnade
