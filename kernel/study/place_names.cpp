#include "kernel/study/place_names.h"

#include <algorithm>
#include <cctype>
#include <vector>

namespace colonnade::host {
namespace {

constexpr std::size_t hash_digits = 64;

std::string last_name(const std::string& path) {
  const std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path;
  const std::size_t slash = path.rfind('/', end);
  const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(begin, end + 1 - begin);
}

// All strings in the parameters that are absolute paths.
void collect_paths(const Json& value, std::vector<std::string>& paths) {
  if (value.is_string() && value.get_ref<const std::string&>().starts_with('/')) paths.push_back(value);
  if (!value.is_structured()) return;
  for (const Json& part : value) collect_paths(part, paths);
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

bool is_part_of_path(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '/' || c == '.' || c == '_' || c == '-' || c == '+' ||
         c == '~' || c == '@' || c == '=' || static_cast<unsigned char>(c) >= 0x80;
}

// Words that start with a slash and have another one.
void shorten_paths(std::string& text) {
  for (std::size_t at = text.find('/'); at != std::string::npos; at = text.find('/', at + 1)) {
    const bool starts = at == 0 || (!is_part_of_path(text[at - 1]) && text[at - 1] != ':');
    if (!starts) continue;
    std::size_t end = at;
    while (end < text.size() && is_part_of_path(text[end])) ++end;
    std::string path = text.substr(at, end - at);
    while (path.size() > 1 && path.back() == '.') path.pop_back();  // of the sentence
    if (std::count(path.begin(), path.end(), '/') < 2) continue;
    const std::string name = last_name(path);
    text.replace(at, path.size(), name);
    at += name.size();
    if (at >= text.size()) return;
  }
}

void add_names(const Json& given, const Json& keyed, std::map<std::string, std::set<std::string>>& names) {
  if (given.is_string() && keyed.is_string()) {
    const std::string &path = given.get_ref<const std::string&>(), &hash = keyed.get_ref<const std::string&>();
    if (path.starts_with('/') && path != hash && hash.size() == hash_digits) names[hash].insert(last_name(path));
  }
  if (given.is_array() && keyed.is_array() && given.size() == keyed.size()) {
    for (std::size_t i = 0; i < given.size(); ++i) add_names(given[i], keyed[i], names);
  }
  if (given.is_object() && keyed.is_object()) {
    for (const auto& [name, value] : given.items()) {
      if (keyed.contains(name)) add_names(value, keyed.at(name), names);
    }
  }
}

}  // namespace

std::string without_places(const std::string& message, const NodeRecord* node) {
  std::string text = message;
  std::vector<std::string> paths;
  if (node) collect_paths(node->params, paths);
  std::sort(paths.begin(), paths.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  for (const std::string& path : paths) replace_all(text, path, last_name(path));
  shorten_paths(text);
  return text;
}

std::map<std::string, std::set<std::string>> names_of_contents(const RunHistory& history, const Store& store) {
  std::map<std::string, std::set<std::string>> names;
  for (const NodeRecord& node : history.nodes) {
    std::vector<std::string> paths;
    collect_paths(node.params, paths);
    const Trace* trace = paths.empty() ? nullptr : store.find_even_without_blobs(node.key);
    if (trace && trace->key_record.contains("params")) add_names(node.params, trace->key_record.at("params"), names);
  }
  return names;
}

}  // namespace colonnade::host
