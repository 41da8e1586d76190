#include "normalise.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "colonnade/error.h"
#include "unicode_ranges.h"

namespace colonnade::clip {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

template <std::size_t size>
bool within(const CodeRange (&ranges)[size], char32_t code) {
  const CodeRange* after = std::upper_bound(std::begin(ranges), std::end(ranges), code,
                                            [](char32_t value, const CodeRange& range) { return value < range.first; });
  return after != std::begin(ranges) && code <= std::prev(after)->last;
}

enum class Kind { letter, number, space, other };

Kind kind_of(char32_t code) {
  if (within(kLetters, code)) return Kind::letter;
  if (within(kNumbers, code)) return Kind::number;
  return within(kSpaces, code) ? Kind::space : Kind::other;
}

void append(std::string& text, char32_t code) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t count = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count));
}

const utf8proc_uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

std::vector<char32_t> codes_of(std::string_view text) {
  std::vector<char32_t> codes;
  codes.reserve(text.size());
  std::size_t at = 0;
  while (at < text.size()) {
    utf8proc_int32_t code = 0;
    const auto used = utf8proc_iterate(bytes_of(text) + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    if (used <= 0) throw Error(ErrorKind::input, "a text is not well-formed UTF-8 at byte " + std::to_string(at));
    codes.push_back(static_cast<char32_t>(code));
    at += static_cast<std::size_t>(used);
  }
  return codes;
}

std::string composed(std::string_view text) {
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(bytes_of(text), static_cast<utf8proc_ssize_t>(text.size()), &raw,
                                             static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(raw, &std::free);
  if (size < 0) throw Error(ErrorKind::input, std::string("a text cannot be normalised: ") + utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(raw), static_cast<std::size_t>(size)};
}

void append_lower(std::string& text, char32_t code) {
  const auto* later = std::lower_bound(std::begin(kLaterLower), std::end(kLaterLower), code,
                                       [](const LaterLower& entry, char32_t value) { return entry.upper < value; });
  if (later == std::end(kLaterLower) || later->upper != code) {
    return append(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
  }
  append(text, later->lower);
  if (later->second != 0) append(text, later->second);
}

bool stands_at(const std::vector<char32_t>& codes, std::size_t at, std::u32string_view text) {
  return codes.size() - at >= text.size() &&
         std::equal(text.begin(), text.end(), codes.begin() + static_cast<std::ptrdiff_t>(at));
}

/// Codes of the contraction that begins at `at`, 0 if none does.
std::size_t contraction(const std::vector<char32_t>& codes, std::size_t at) {
  for (const std::u32string_view each : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
    if (stands_at(codes, at, each)) return each.size();
  }
  return 0;
}

std::u32string_view limit_token(const std::vector<char32_t>& codes, std::size_t at) {
  for (const std::u32string_view each : {U"<|startoftext|>", U"<|endoftext|>"}) {
    if (stands_at(codes, at, each)) return each;
  }
  return {};
}

}  // namespace

std::string well_formed(std::string_view text) {
  std::string result;
  std::size_t at = 0;
  while (at < text.size()) {
    utf8proc_int32_t code = 0;
    const auto used = utf8proc_iterate(bytes_of(text) + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    append(result, used > 0 ? static_cast<char32_t>(code) : kReplacement);
    at += used > 0 ? static_cast<std::size_t>(used) : 1;
  }
  return result;
}

std::string normalised(std::string_view text) {
  std::string result;
  bool blank = false;
  for (const char32_t code : codes_of(composed(text))) {
    const bool space = kind_of(code) == Kind::space;
    if (space && !blank) result += ' ';
    if (!space) append_lower(result, code);
    blank = space;
  }
  return result;
}

std::vector<std::string> words_of(std::string_view text) {
  const std::vector<char32_t> codes = codes_of(text);
  std::vector<std::string> words;
  std::size_t at = 0;
  while (at < codes.size()) {
    const Kind kind = kind_of(codes[at]);
    if (kind == Kind::space) {
      ++at;
      continue;
    }
    if (const std::u32string_view limit = limit_token(codes, at); !limit.empty()) {
      // Lower case may spell one; it is a match of its own there, but no token: its brackets are words.
      words.insert(words.end(), {"<|", std::string(limit.begin() + 2, limit.end() - 2), "|>"});
      at += limit.size();
      continue;
    }
    std::size_t size = contraction(codes, at);
    if (size == 0) {
      size = 1;
      while (kind != Kind::number && at + size < codes.size() && kind_of(codes[at + size]) == kind) ++size;
    }
    std::string& word = words.emplace_back();
    for (std::size_t i = at; i < at + size; ++i) append(word, codes[i]);
    at += size;
  }
  return words;
}

}  // namespace colonnade::clip
