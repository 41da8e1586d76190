#include "selector_grammar.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "colonnade/error.h"
#include "param_text.h"

namespace colonnade::detail {
namespace {

const std::vector<std::string> kKinds = {"linear", "conv1d", "embedding", "vector"};
const std::vector<std::string> kWords = {"role", "kind", "layer"};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> pieces;
  while (true) {
    const auto end = text.find(separator);
    std::string_view piece = text.substr(0, end);
    piece.remove_prefix(std::min(piece.find_first_not_of(' '), piece.size()));
    pieces.emplace_back(piece.substr(0, piece.find_last_not_of(' ') + 1));
    if (end == std::string_view::npos) return pieces;
    text.remove_prefix(end + 1);
  }
}

bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);  // -1: sites of no layer
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string condition_problem(const std::string& condition) {
  if (condition.empty()) return "has an empty term";
  const auto colon = condition.find(':');
  if (colon == std::string::npos) return "";
  const std::string word = condition.substr(0, colon), what = condition.substr(colon + 1);
  if (std::find(kWords.begin(), kWords.end(), word) == kWords.end()) {
    return "has an unknown word '" + word + ":'" + did_you_mean(word, kWords) + " Words: " + listed(kWords);
  }
  if (word == "kind" && std::find(kKinds.begin(), kKinds.end(), what) == kKinds.end()) {
    return "has an unknown kind '" + what + "'" + did_you_mean(what, kKinds) + " Kinds: " + listed(kKinds);
  }
  if (word != "layer") return "";
  const auto dots = what.find("..");
  const bool numbers =
      is_number(what.substr(0, dots)) && (dots == std::string::npos || is_number(what.substr(dots + 2)));
  return numbers ? "" : "has '" + condition + "'; write layer:3 or layer:8..15";
}

}  // namespace

std::string selector_problem(const std::string& selector) {
  for (std::string term : split(selector, ',')) {
    if (term.starts_with('!')) term.erase(0, 1);
    term.resize(std::min(term.rfind('#'), term.size()));
    for (const std::string& condition : split(term, '&')) {
      if (const std::string problem = condition_problem(condition); !problem.empty()) return problem;
    }
  }
  return "";
}

}  // namespace colonnade::detail
