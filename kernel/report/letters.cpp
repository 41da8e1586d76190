#include "kernel/report/letters.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <set>

namespace colonnade::host {

namespace {

bool is_continuation(std::string_view text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

// Latin, Greek, Cyrillic, punctuation, superscripts and mathematical signs are in every font that gnuplot is installed
// with.
bool is_common(char32_t code) {
  return code < 0x530 || (code >= 0x2000 && code < 0x2300);
}

// Whether one font has all of them, as fontconfig knows it.
bool some_font_has(const std::set<char32_t>& letters) {
  std::string command = "fc-list ':charset=";
  for (const char32_t letter : letters) command += fmt::format(" {:x}", static_cast<unsigned>(letter));
  command += "' family 2>/dev/null";
  FILE* list = ::popen(command.c_str(), "re");
  if (list == nullptr) return false;
  std::array<char, 4096> buffer{};
  std::size_t bytes = 0;
  for (std::size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), list)) > 0;) bytes += count;
  return ::pclose(list) == 0 && bytes > 0;
}

}  // namespace

Letter letter_at(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x20 || first == 0x7F) return {' ', 1};
  if (first < 0x80) return {first, 1};
  if (first < 0xC2 || first > 0xF4) return {not_a_letter, 1};
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  char32_t code = first & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if (!is_continuation(text, at + i)) return {not_a_letter, 1};
    code = code << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3F);
  }
  static constexpr std::array<char32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000,
             allowed = code <= 0x10FFFF && code != 0xFFFE && code != 0xFFFF;
  if (code < least[length] || surrogate || !allowed) return {not_a_letter, length};
  if (code < 0xA0) return {' ', length};
  return {code, length};
}

std::string valid_utf8(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Letter letter = letter_at(text, at);
    out += letter.code == not_a_letter ? "\uFFFD" : text.substr(at, letter.length);
    at += letter.length;
  }
  return out;
}

std::string with_drawable_letters(const std::string& text) {
  std::set<char32_t> rare;
  for (std::size_t at = 0; at < text.size();) {
    const Letter letter = letter_at(text, at);
    if (!is_common(letter.code)) rare.insert(letter.code);
    at += letter.length;
  }
  if (rare.empty() || some_font_has(rare)) return text;
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Letter letter = letter_at(text, at);
    out += is_common(letter.code) ? text.substr(at, letter.length) : "\u25A1";
    at += letter.length;
  }
  return out;
}

}  // namespace colonnade::host
