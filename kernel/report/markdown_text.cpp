#include "kernel/report/markdown_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace colonnade::host {

namespace {

// A fence longer than any run of backticks inside.
std::string fence_for(const std::string& text, std::size_t least) {
  std::size_t longest = 0, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return std::string(std::max(least, longest + 1), '`');
}

std::string on_one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

}  // namespace

std::string escaped_markdown(const std::string& text) {
  constexpr std::string_view special = "|\\`*_<>[]#~$";
  std::string out;
  for (const char c : on_one_line(text)) {
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string code_span(const std::string& text) {
  const std::string line = on_one_line(text), fence = fence_for(line, 1);
  const bool touches = line.empty() || line.front() == '`' || line.back() == '`';
  return touches ? fence + " " + line + " " + fence : fence + line + fence;
}

std::string code_block(const std::string& text) {
  constexpr std::size_t shortest = 3;
  const std::string fence = fence_for(text, shortest);
  return fence + "\n" + text + (text.ends_with('\n') ? "" : "\n") + fence + "\n";
}

std::string listed(const std::vector<std::string>& texts) {
  constexpr std::size_t most_listed = 6;
  if (texts.size() <= most_listed) return fmt::format("{}", fmt::join(texts, ", "));
  const std::vector<std::string> first(texts.begin(), texts.begin() + most_listed);
  return fmt::format("{} and {} more", fmt::join(first, ", "), texts.size() - most_listed);
}

}  // namespace colonnade::host
