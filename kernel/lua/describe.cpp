#include "kernel/lua/describe.h"

#include <fmt/format.h>

#include "colonnade/text.h"
#include "kernel/lua/handles.h"

namespace colonnade::host {

namespace {

constexpr std::size_t kLongestText = 60;

std::string number_text(lua_State* L, int index) {
  lua_pushvalue(L, index);  // conversion happens in place
  std::string text = text_at(L, -1);
  lua_pop(L, 1);
  return text;
}

std::string place(const Where& where) {
  return where.file.empty() ? "" : fmt::format(" ({}:{})", where.file, where.line);
}

std::string described_object(lua_State* L, int index) {
  if (const auto* node = object_at<NodeHandle>(L, index)) return "the node " + described(*node->node);
  if (const auto* field = object_at<FieldHandle>(L, index)) return "the field " + described(field->field);
  if (const auto* recipe = object_at<RecipeHandle>(L, index)) {
    return "a recipe of " + recipe->application.schema->name + ", which waits for its first input";
  }
  if (object_at<SeedHandle>(L, index) != nullptr) return "the trial's seed";
  if (const auto* declaration = object_at<Declaration>(L, index)) return "a declared " + declaration->kind;
  if (object_at<StudyHandle>(L, index) != nullptr) return "a study";
  return "an object";
}

}  // namespace

std::string described(const Node& node) {
  return node.schema->name + place(node.where);
}

std::string described(const FieldRef& field) {
  return field.node->schema->name + "." + field.field + place(field.node->where);
}

std::string described(lua_State* L, int index) {
  switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
      return "nil";
    case LUA_TBOOLEAN:
      return lua_toboolean(L, index) ? "true" : "false";
    case LUA_TNUMBER:
      return "the number " + number_text(L, index);
    case LUA_TSTRING:
      return "the string '" + shortened(text_at(L, index), kLongestText) + "'";
    case LUA_TTABLE:
      return "a table";
    case LUA_TFUNCTION:
      return "a function";
    case LUA_TUSERDATA:
      return described_object(L, index);
    default:
      return fmt::format("a {}", luaL_typename(L, index));
  }
}

std::string listed_fields(const OpSchema& schema) {
  std::string text;
  for (const OutputSpec& output : schema.outputs) {
    text += (text.empty() ? "" : ", ") + output.name + " (" + output.type + ")";
  }
  return text;
}

std::string joined(const std::vector<std::string>& names) {
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

std::string plain_text(lua_State* L, int index) {
  switch (lua_type(L, index)) {
    case LUA_TSTRING:
      return text_at(L, index);
    case LUA_TNUMBER:
      return number_text(L, index);
    case LUA_TNIL:
      return "nil";
    case LUA_TBOOLEAN:
      return lua_toboolean(L, index) ? "true" : "false";
    default:
      break;
  }
  if (const auto* node = object_at<NodeHandle>(L, index)) return "node: " + node->node->short_name();
  if (const auto* field = object_at<FieldHandle>(L, index)) {
    return "field: " + field->field.node->short_name() + "." + field->field.field;
  }
  if (const auto* recipe = object_at<RecipeHandle>(L, index)) return "recipe: " + recipe->application.schema->name;
  if (object_at<SeedHandle>(L, index) != nullptr) return "seed";
  if (const auto* declaration = object_at<Declaration>(L, index)) return declaration->kind;
  if (object_at<StudyHandle>(L, index) != nullptr) return "study";
  return luaL_typename(L, index);
}

}  // namespace colonnade::host
