#include "colonnade/tensor/selector.h"

#include <charconv>
#include <functional>
#include <set>

#include "colonnade/error.h"

namespace colonnade {

namespace {

[[noreturn]] void refuse(const std::string& selector, const std::string& why) {
  throw Error(ErrorKind::usage, "site selector '" + selector + "': " + why);
}

bool matches_pattern(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern.front() == '*') {
    for (std::size_t skip = 0; skip <= name.size(); ++skip) {
      if (matches_pattern(pattern.substr(1), name.substr(skip))) return true;
    }
    return false;
  }
  if (name.empty()) return false;
  return (pattern.front() == '?' || pattern.front() == name.front()) && matches_pattern(pattern.substr(1), name.substr(1));
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> result;
  std::size_t start = 0;
  while (true) {
    const auto end = text.find(separator, start);
    std::string piece = text.substr(start, end - start);
    const auto first = piece.find_first_not_of(' ');
    const auto last = piece.find_last_not_of(' ');
    result.push_back(first == std::string::npos ? "" : piece.substr(first, last - first + 1));
    if (end == std::string::npos) return result;
    start = end + 1;
  }
}

int layer_number(const std::string& text, const std::string& selector) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  refuse(selector, "'" + text + "' is no layer number; write layer:3 or layer:8..15");
}

struct Term {
  bool take_away = false;
  std::vector<std::function<bool(const SiteSpec&)>> conditions;
  std::string part;
};

std::vector<std::string> known_kinds() { return {"linear", "conv1d", "embedding", "vector"}; }

std::function<bool(const SiteSpec&)> parse_condition(const Model& model, const std::string& text, const std::string& selector) {
  if (text == "all") return [](const SiteSpec&) { return true; };
  if (text.starts_with("role:")) {
    const std::string role = text.substr(5);
    std::set<std::string> roles;
    for (const SiteSpec& site : model.sites()) roles.insert(site.roles.begin(), site.roles.end());
    if (!roles.contains(role)) refuse(selector, "no site has the role '" + role + "'" + did_you_mean(role, {roles.begin(), roles.end()}));
    return [role](const SiteSpec& site) { return std::find(site.roles.begin(), site.roles.end(), role) != site.roles.end(); };
  }
  if (text.starts_with("kind:")) {
    const std::string kind = text.substr(5);
    const auto kinds = known_kinds();
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      refuse(selector, "unknown kind '" + kind + "'; there are linear, conv1d, embedding, vector" + did_you_mean(kind, kinds));
    }
    return [kind](const SiteSpec& site) { return kind == site_kind_name(site.kind); };
  }
  if (text.starts_with("layer:")) {
    const std::string range = text.substr(6);
    const auto dots = range.find("..");
    const int low = layer_number(range.substr(0, dots), selector);
    const int high = dots == std::string::npos ? low : layer_number(range.substr(dots + 2), selector);
    return [low, high](const SiteSpec& site) { return site.layer >= low && site.layer <= high; };
  }
  return [text](const SiteSpec& site) { return matches_pattern(text, site.name); };
}

Term parse_term(const Model& model, std::string text, const std::string& selector) {
  Term term;
  if (text.starts_with('!')) {
    term.take_away = true;
    text = text.substr(1);
  }
  if (const auto hash = text.rfind('#'); hash != std::string::npos) {
    term.part = text.substr(hash + 1);
    text = text.substr(0, hash);
  }
  for (const std::string& condition : split(text, '&')) {
    if (condition.empty()) refuse(selector, "an empty term");
    term.conditions.push_back(parse_condition(model, condition, selector));
  }
  return term;
}

struct Choice {
  bool whole = false;
  std::vector<Part> rows;
};

void apply_term(const Term& term, const SiteSpec& site, Choice& choice, bool& matched) {
  for (const auto& condition : term.conditions) {
    if (!condition(site)) return;
  }
  if (term.part.empty()) {
    matched = true;
    choice = {!term.take_away, {}};
    return;
  }
  const Part* part = site.find_part(term.part);
  if (part == nullptr) return;
  matched = true;
  if (term.take_away && choice.whole) {
    choice = {false, site.parts};
  }
  std::erase_if(choice.rows, [&](const Part& row) { return row.name == term.part; });
  if (!term.take_away && !choice.whole) choice.rows.push_back(*part);
}

[[noreturn]] void refuse_unmatched(const Model& model, const std::string& term, const std::string& selector) {
  std::vector<std::string> names;
  std::set<std::string> parts;
  for (const SiteSpec& site : model.sites()) {
    names.push_back(site.name);
    for (const Part& part : site.parts) parts.insert("#" + part.name);
  }
  std::string known;
  for (const std::string& part : parts) known += (known.empty() ? "; parts there are: " : ", ") + part;
  refuse(selector, "'" + term + "' matches no site" + did_you_mean(term, names) + known);
}

std::vector<SelectedSite> select(const Model& model, const std::string& selector, bool every_term_matches) {
  std::map<std::string, Choice> choices;
  for (const std::string& text : split(selector, ',')) {
    if (text.empty()) refuse(selector, "an empty term");
    const Term term = parse_term(model, text, selector);
    bool matched = false;
    for (const SiteSpec& site : model.sites()) apply_term(term, site, choices[site.name], matched);
    if (!matched && every_term_matches) refuse_unmatched(model, text, selector);
  }
  std::vector<SelectedSite> result;
  for (const SiteSpec& site : model.sites()) {
    const Choice& choice = choices.at(site.name);
    if (choice.whole) result.push_back({site.name, {}});
    if (!choice.rows.empty()) result.push_back({site.name, choice.rows});
  }
  if (result.empty()) refuse(selector, every_term_matches ? "nothing is left of the selection" : "this model has none of these");
  return result;
}

}  // namespace

std::vector<SelectedSite> select_sites(const Model& model, const std::string& selector) { return select(model, selector, true); }

std::vector<SelectedSite> select_present_sites(const Model& model, const std::string& selector) {
  return select(model, selector, false);
}

std::vector<std::string> selected_names(const std::vector<SelectedSite>& selection) {
  std::vector<std::string> names;
  for (const SelectedSite& site : selection) names.push_back(site.name);
  return names;
}

}  // namespace colonnade
