#include "normalise.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "colonnade/unicode.h"
#include "later_lower.h"

namespace colonnade::clip {
namespace {

void append_lower(std::string& text, char32_t code) {
  const auto* later = std::lower_bound(std::begin(kLaterLower), std::end(kLaterLower), code,
                                       [](const LaterLower& entry, char32_t value) { return entry.upper < value; });
  if (later == std::end(kLaterLower) || later->upper != code) {
    return append_utf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
  }
  append_utf8(text, later->lower);
  if (later->second != 0) append_utf8(text, later->second);
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

std::string normalised(std::string_view text) {
  std::string result;
  bool blank = false;
  for (const char32_t code : code_points(composed(text))) {
    const bool space = kind_of(code) == CharacterKind::space;
    if (space && !blank) result += ' ';
    if (!space) append_lower(result, code);
    blank = space;
  }
  return result;
}

std::vector<std::string> words_of(std::string_view text) {
  const std::vector<char32_t> codes = code_points(text);
  std::vector<std::string> words;
  std::size_t at = 0;
  while (at < codes.size()) {
    const CharacterKind kind = kind_of(codes[at]);
    if (kind == CharacterKind::space) {
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
      while (kind != CharacterKind::number && at + size < codes.size() && kind_of(codes[at + size]) == kind) ++size;
    }
    std::string& word = words.emplace_back();
    for (std::size_t i = at; i < at + size; ++i) append_utf8(word, codes[i]);
    at += size;
  }
  return words;
}

}  // namespace colonnade::clip
