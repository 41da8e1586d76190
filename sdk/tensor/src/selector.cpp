#include "colonnade/tensor/selector.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

#include "colonnade/error.h"

namespace colonnade {

namespace {

[[noreturn]] void refuse(const std::string& selector, const std::string& why) {
  throw Error(ErrorKind::usage, "site selector '" + selector + "': " + why);
}

// One place to go back to, the last *: patterns of many stars stay linear in practice.
bool matches_pattern(std::string_view pattern, std::string_view name) {
  std::size_t at = 0, star = std::string_view::npos, resume = 0, i = 0;
  while (i < name.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      resume = i;
    } else if (at < pattern.size() && (pattern[at] == '?' || pattern[at] == name[i])) {
      ++at;
      ++i;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      i = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == std::string_view::npos;
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

std::vector<std::string> known_kinds() {
  return {"linear", "conv1d", "embedding", "vector"};
}

std::function<bool(const SiteSpec&)> parse_condition(const Model& model, const std::string& text,
                                                     const std::string& selector, bool must_match) {
  if (text == "all") return [](const SiteSpec&) { return true; };
  if (text.starts_with("role:")) {
    const std::string role = text.substr(5);
    std::set<std::string> roles;
    for (const SiteSpec& site : model.sites()) roles.insert(site.roles.begin(), site.roles.end());
    if (must_match && !roles.contains(role)) {
      refuse(selector, "no site has the role '" + role + "'" + did_you_mean(role, {roles.begin(), roles.end()}));
    }
    return [role](const SiteSpec& site) {
      return std::find(site.roles.begin(), site.roles.end(), role) != site.roles.end();
    };
  }
  if (text.starts_with("kind:")) {
    const std::string kind = text.substr(5);
    const auto kinds = known_kinds();
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      refuse(selector,
             "unknown kind '" + kind + "'; there are linear, conv1d, embedding, vector" + did_you_mean(kind, kinds));
    }
    return [kind](const SiteSpec& site) { return kind == site_kind_name(site.kind); };
  }
  if (text.starts_with("layer:")) {
    const std::string range = text.substr(6);
    const auto dots = range.find("..");
    const int low = layer_number(range.substr(0, dots), selector);
    const int high = dots == std::string::npos ? low : layer_number(range.substr(dots + 2), selector);
    if (low > high) refuse(selector, "layers " + range + " run backwards");
    return [low, high](const SiteSpec& site) { return site.layer >= low && site.layer <= high; };
  }
  return [text](const SiteSpec& site) { return matches_pattern(text, site.name); };
}

Term parse_term(const Model& model, std::string text, const std::string& selector, bool must_match) {
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
    term.conditions.push_back(parse_condition(model, condition, selector, must_match));
  }
  return term;
}

struct Choice {
  bool whole = false;
  std::vector<Part> rows;
};

// A site's parts in order, with the rows that no part names in between.
std::vector<Part> all_rows(const SiteSpec& site) {
  std::vector<Part> named = site.parts, all;
  std::sort(named.begin(), named.end(), [](const Part& a, const Part& b) { return a.start < b.start; });
  std::int64_t next = 0;
  const auto fill_to = [&](std::int64_t start) {
    if (start > next) all.push_back({"rest", next, start - next});
  };
  for (const Part& part : named) {
    fill_to(part.start);
    all.push_back(part);
    next = std::max(next, part.start + part.size);
  }
  fill_to(site.rows());
  return all;
}

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
    choice = {false, all_rows(site)};
  }
  std::erase_if(choice.rows, [&](const Part& row) { return row.name == term.part; });
  if (term.take_away || choice.whole) return;
  choice.rows.push_back(*part);
  std::sort(choice.rows.begin(), choice.rows.end(), [](const Part& a, const Part& b) { return a.start < b.start; });
}

[[noreturn]] void refuse_unmatched(const Model& model, const std::string& term, const std::string& selector) {
  std::vector<std::string> names;
  std::set<std::string> parts;
  for (const SiteSpec& site : model.sites()) {
    names.push_back(site.name);
    names.push_back("*." + site.name.substr(site.name.rfind('.') + 1));
    for (const Part& part : site.parts) {
      parts.insert("#" + part.name);
      names.push_back("*." + site.name.substr(site.name.rfind('.') + 1) + "#" + part.name);
    }
  }
  std::string known;
  for (const std::string& part : parts) known += (known.empty() ? "; parts there are: " : ", ") + part;
  refuse(selector, "'" + term + "' matches no site" + did_you_mean(term, names) + known);
}

std::vector<SelectedSite> select(const Model& model, const std::string& selector, bool every_term_matches) {
  std::map<std::string, Choice> choices;
  for (const std::string& text : split(selector, ',')) {
    if (text.empty()) refuse(selector, "an empty term");
    const Term term = parse_term(model, text, selector, every_term_matches);
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
  if (result.empty())
    refuse(selector, every_term_matches ? "nothing is left of the selection" : "this model has none of these");
  return result;
}

}  // namespace

std::vector<SelectedSite> select_sites(const Model& model, const std::string& selector) {
  return select(model, selector, true);
}

std::vector<SelectedSite> select_present_sites(const Model& model, const std::string& selector) {
  return select(model, selector, false);
}

std::vector<SelectedSite> chosen_sites(const OpContext& context, const Model& model, const std::string& fallback) {
  if (!context.has_param("sites")) return select_present_sites(model, fallback);
  return select_sites(model, context.param<std::string>("sites"));
}

std::vector<std::string> selected_names(const std::vector<SelectedSite>& selection) {
  std::vector<std::string> names;
  for (const SelectedSite& site : selection) names.push_back(site.name);
  return names;
}

}  // namespace colonnade
