#include "kernel/report/parameters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "colonnade/text.h"
#include "kernel/report/markdown_text.h"
#include "kernel/report/tables.h"

namespace colonnade::host {

namespace {

constexpr std::size_t longest_value = 120;  // characters of a parameter's values

std::string short_name(const std::string& op) {
  return op.substr(op.rfind('/') + 1);
}

using Names = std::map<std::string, std::string>;  // of files and folders, by their contents

std::string readable_value(const Json& value, const Names& names);

// As Lua writes a recipe: name { parameter = 8 }.
std::string recipe_text(const Json& recipe, const Names& names) {
  std::vector<std::string> params;
  const Json given = recipe.value("params", Json::object());
  for (const auto& [name, value] : given.items()) {
    if (!value.is_null()) params.push_back(name + " = " + readable_value(value, names));
  }
  const std::string name = short_name(recipe.at("op").get<std::string>());
  return params.empty() ? name : fmt::format("{} {{ {} }}", name, fmt::join(params, ", "));
}

// What stands for a file or folder: its bytes, which are the same wherever it lies.
bool is_content(const Json& value) {
  return value.is_object() && value.size() == 1 && value.contains("content") && value.at("content").is_string();
}

// The name is for people: the same contents have another one elsewhere, and are found by their hash.
std::string named_content(const std::string& hash, const Names& names) {
  const auto name = names.find(hash);
  return name == names.end() ? "file or folder with contents of SHA-256 " + hash
                             : fmt::format("{} (SHA-256 {})", name->second, hash);
}

std::string readable_value(const Json& value, const Names& names) {
  if (value.is_null()) return "not set";
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    return names.contains(text) ? named_content(text, names) : text;
  }
  if (is_content(value)) return named_content(value.at("content").get<std::string>(), names);
  if (value.is_object() && value.contains("op") && value.at("op").is_string()) return recipe_text(value, names);
  if (value.is_number_float() &&
      value.get<double>() == static_cast<double>(static_cast<std::int64_t>(value.get<double>())))
    return fmt::format("{:g}", value.get<double>());
  if (!value.is_array()) return json_text(value);
  std::vector<std::string> parts;
  for (const Json& part : value) parts.push_back(readable_value(part, names));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// One value, or the values of different arms.
std::string values_text(const Json& values, const Names& names) {
  const std::string out = readable_value(values, names);
  if (out.size() <= longest_value) return out;
  if (values.size() == 1) return "in comprehensive_results.json";
  return fmt::format("{} values, in comprehensive_results.json", values.size());
}

// A recipe without parameters is the same as one with all of them at their defaults only to the op, so it is shown.
bool is_as_by_default(const Json& values, const Json& param) {
  const Json usual = param.contains("default") ? param.at("default") : Json();
  return values.is_array() && values.size() == 1 && values.at(0) == usual;
}

std::string op_section(const Json& op, const Names& names) {
  TextTable table{{"parameter", "values", "default", "meaning"}, {}};
  std::vector<std::string> as_usual, not_set;
  const Json values = op.value("values", Json::object());
  for (const Json& param : op.at("schema").at("params")) {
    const std::string name = param.at("name"), unit = param.at("unit");
    const Json own = values.value(name, Json::array());
    const bool has_default = param.contains("default") && !param.at("default").is_null();
    if (is_as_by_default(own, param)) {
      (has_default ? as_usual : not_set)
          .push_back(code_span(name) +
                     (has_default ? " " + escaped_markdown(readable_value(param.at("default"), names)) : ""));
      continue;
    }
    table.rows.push_back({unit.empty() ? name : name + " (" + unit + ")", values_text(own, names),
                          has_default ? readable_value(param.at("default"), names) : "", param.at("doc")});
  }
  const std::string doc = op.at("schema").at("doc");
  std::string out = fmt::format("{}: {}\n\n", code_span(op.at("op").get<std::string>()), doc.substr(0, doc.find('\n')));
  if (!table.rows.empty()) out += as_markdown(table) + "\n";
  if (!as_usual.empty()) out += fmt::format("As by default: {}.", fmt::join(as_usual, ", "));
  if (!not_set.empty()) out += fmt::format("{}Not set: {}.", as_usual.empty() ? "" : " ", fmt::join(not_set, ", "));
  return out + (as_usual.empty() && not_set.empty() ? "" : "\n\n");
}

}  // namespace

std::string conditions_section(const StudyResults& results) {
  TextTable table{{"what", "value"}, {}};
  for (const char* part : {"settings", "environment"}) {
    const Json document = results.lock.is_object() ? results.lock.value(part, Json::object()) : Json::object();
    if (!document.is_object()) continue;
    for (const auto& [name, value] : document.items()) {
      const std::string text = readable_value(value, results.content_names);
      if (text.size() <= longest_value) table.rows.push_back({name, text});
    }
  }
  if (table.rows.empty()) return "";
  return as_markdown(table) +
         "\nAll that determined the results, with the hashes of code and data, is in `lock.json`.\n";
}

std::string parameters_section(const StudyResults& results) {
  std::string out;
  for (const Json& op : results.parameter_tables) out += op_section(op, results.content_names);
  if (out.empty()) return "";
  return "`colonnade op NAME` says more about each.\n\n" + out;
}

}  // namespace colonnade::host
