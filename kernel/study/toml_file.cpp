#include "kernel/study/toml_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cmath>
#include <optional>
#include <string_view>

#include "colonnade/error.h"

namespace colonnade::host {
namespace {

struct Converter {
  std::string file;
  std::map<std::string, int>* lines;

  [[noreturn]] void refuse(const toml::node& node, const std::string& name, std::string_view found) const {
    throw Error(ErrorKind::usage,
                fmt::format("{}:{}: {} is {}; allowed: booleans, integers, finite numbers, strings, lists "
                            "and tables",
                            file, node.source().begin.line, name, found));
  }

  Json number(const toml::node& node, const std::string& name) const {
    const double value = node.as_floating_point()->get();
    if (!std::isfinite(value)) refuse(node, name, "not a finite number");
    return value;
  }

  Json convert(const toml::node& node, const std::string& name) const {
    if (const auto* table = node.as_table()) return convert_table(*table, name);
    if (lines) lines->emplace(name, static_cast<int>(node.source().begin.line));
    if (const auto* array = node.as_array()) {
      Json items = Json::array();
      for (const auto& item : *array) items.push_back(Converter{file, nullptr}.convert(item, name));
      return items;
    }
    if (node.is_boolean()) return node.as_boolean()->get();
    if (node.is_integer()) return node.as_integer()->get();
    if (node.is_string()) return node.as_string()->get();
    if (node.is_floating_point()) return number(node, name);
    refuse(node, name, "a date or time");
  }

  Json convert_table(const toml::table& table, const std::string& name) const {
    Json object = Json::object();
    for (const auto& [key, node] : table) {
      const std::string key_name(key.str());
      object[key_name] = convert(node, name.empty() ? key_name : name + "." + key_name);
    }
    return object;
  }
};

}  // namespace

TomlFile read_toml(const std::filesystem::path& file) {
  const std::string name = file.lexically_proximate(std::filesystem::current_path()).string();
  try {
    const toml::table table = toml::parse_file(file.string());
    TomlFile result;
    result.values = Converter{name, &result.lines}.convert_table(table, "");
    return result;
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    if (line == 0) throw Error(ErrorKind::usage, fmt::format("{}: {}", name, error.description()));
    throw Error(ErrorKind::usage, fmt::format("{}:{}: {}", name, line, error.description()));
  }
}

Json value_from_text(const std::string& text) {
  std::optional<toml::table> table;
  try {
    table = toml::parse("value = " + text);
  } catch (const toml::parse_error&) {
    return text;
  }
  if (table->size() != 1) return text;
  const toml::node& node = *table->get("value");
  if (node.is_date() || node.is_time() || node.is_date_time()) return text;
  return Converter{"--set", nullptr}.convert(node, "the value");
}

}  // namespace colonnade::host
