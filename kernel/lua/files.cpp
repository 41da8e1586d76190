#include "kernel/lua/files.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "kernel/lua/binding.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/handles.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

struct Format {
  std::string_view ending, type;
};
constexpr std::array formats = {Format{".npy", "tensor"}, Format{".csv", "table"}};
constexpr Format folder = {"", "files"};  // a folder of that name
constexpr std::size_t kLongestFileName = 80;

const Format& format_of(lua_State* L, const std::string& name, const std::string& what) {
  constexpr const char* kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  const bool plain = name.size() <= kLongestFileName && name.find_first_not_of(kAllowed) == std::string::npos;
  if (!plain || name.starts_with('.')) {
    raise(L, fmt::format("{}: '{}' is no name for a file; allowed: up to {} letters, digits, _ - and ., not first a .",
                         what, name, kLongestFileName));
  }
  for (const Format& format : formats) {
    if (name.ends_with(format.ending)) return format;
  }
  return folder;
}

[[noreturn]] void refuse_ending(lua_State* L, const std::string& name, const std::string& what) {
  raise(L, fmt::format("{}: '{}' has no ending that says how to write it; allowed: .npy for a tensor, .csv for a "
                       "table, none for a value of type files, which becomes a folder",
                       what, name));
}

void check_type(lua_State* L, const FieldRef& field, const Format& format, const std::string& name,
                const std::string& what) {
  const std::string& type = output_of(field).type;
  if (type == format.type) return;
  if (format.ending.empty() && (type == formats[0].type || type == formats[1].type)) refuse_ending(L, name, what);
  if (type == folder.type) {
    raise(L, fmt::format("{}: '{}' is {}, of type files, which are written as a folder; allowed: a name without {}",
                         what, name, described(field), format.ending));
  }
  for (const Format& other : formats) {
    if (type != other.type) continue;
    raise(L, fmt::format("{}: '{}' is {}, a {}; {} takes a {}, a {} is written as {}", what, name, described(field),
                         type, format.ending, format.type, type, other.ending));
  }
  raise(L, fmt::format("{}: '{}' is {}, of type {}, which cannot be written; allowed: tensors, tables and files", what,
                       name, described(field), type));
}

FieldRef only_field(lua_State* L, const NodeRef& node, const Format& format, const std::string& name,
                    const std::string& what) {
  std::vector<std::string> fitting;
  for (const OutputSpec& output : node->schema->outputs) {
    if (output.type == format.type) fitting.push_back(output.name);
  }
  if (fitting.size() == 1) return {node, fitting.front()};
  if (fitting.empty() && format.ending.empty()) refuse_ending(L, name, what);
  if (fitting.empty()) {
    raise(L, fmt::format("{}: '{}' is {}, which gives {}: there is no {} to write", what, name, described(*node),
                         listed_fields(*node->schema), format.type));
  }
  raise(L, fmt::format("{}: '{}' is {}, of which several fields are {}s: {}; name one, as in node.{}", what, name,
                       described(*node), format.type, joined(fitting), fitting.front()));
}

}  // namespace

std::vector<MetricRef> files_at(lua_State* L, int index, const std::string& what) {
  index = lua_absindex(L, index);
  if (!lua_istable(L, index)) {
    raise(L, fmt::format("{}: a table {{[\"name.npy\"] = node or field, ...}} is wanted; found {}", what,
                         described(L, index)));
  }
  std::vector<MetricRef> files;
  for (const std::string& name : string_keys(L, index, what)) {
    const Format& format = format_of(L, name, what);
    push_text(L, name);
    lua_rawget(L, index);
    if (const auto* field = object_at<FieldHandle>(L, -1)) {
      check_type(L, field->field, format, name, what);
      files.push_back({name, field->field});
    } else if (const auto* node = object_at<NodeHandle>(L, -1)) {
      files.push_back({name, only_field(L, node->node, format, name, what)});
    } else {
      raise(L, fmt::format("{}: '{}' is {}; allowed: a node or a field", what, name, described(L, -1)));
    }
    lua_pop(L, 1);
  }
  return files;
}

}  // namespace colonnade::host
