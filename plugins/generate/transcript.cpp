#include "transcript.h"

#include <algorithm>

namespace colonnade {

namespace {

constexpr std::size_t kWidth = 72;

bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// Where a line longer than kWidth is cut: behind its last blank, or in front of a character.
std::size_t cut_of(std::string_view text) {
  const std::size_t blank = text.substr(0, kWidth).rfind(' ');
  if (blank != std::string_view::npos) return blank + 1;
  std::size_t cut = kWidth;
  while (cut > 1 && continues_character(text[cut])) --cut;
  return cut;
}

}  // namespace

void Transcript::tell(std::size_t text, std::string_view so_far, bool ended) {
  std::size_t& told = told_[text];
  const std::size_t settled = ended ? so_far.size() : so_far.size() - std::min(held_, so_far.size());
  while (told < settled) {
    const std::string_view rest = so_far.substr(told, settled - told);
    const std::size_t line_end = rest.substr(0, kWidth + 1).find('\n');
    if (line_end != std::string_view::npos) {
      say_(text, std::string(rest.substr(0, line_end)));
      told += line_end + 1;
      continue;
    }
    if (rest.size() <= kWidth && !ended) return;
    const std::size_t size = rest.size() <= kWidth ? rest.size() : cut_of(rest);
    say_(text, std::string(rest.substr(0, size)));
    told += size;
  }
}

}  // namespace colonnade
