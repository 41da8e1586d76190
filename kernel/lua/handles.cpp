#include "kernel/lua/handles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "kernel/lua/adaptive.h"
#include "kernel/lua/apply.h"
#include "kernel/lua/context.h"
#include "kernel/lua/describe.h"

namespace colonnade::host {

namespace {

constexpr const char* value_method = "value";

int object_to_string(lua_State* L) {
  push_text(L, plain_text(L, 1));
  return 1;
}

std::string key_text(lua_State* L) {
  return lua_type(L, 2) == LUA_TSTRING ? text_at(L, 2) : described(L, 2);
}

std::vector<std::string> method_names(lua_State* L, const FieldRef& subject, bool whole_node) {
  std::vector<std::string> names = {value_method};
  for (const OpSchema* op : context_of(L).catalogue.ops()) {
    if (op->inputs.empty()) continue;
    const std::string& wanted = op->inputs.front().type;
    const bool fits = whole_node ? fitting_output(*subject.node->schema, wanted) != nullptr
                                 : type_fits(output_of(subject).type, wanted);
    if (fits) names.push_back(op->name);
  }
  return names;
}

// Says once that a field hides a method.
void note_hidden_method(lua_State* L, const Node& node, const std::string& name) {
  StudyContext& context = context_of(L);
  const auto ops = context.catalogue.find_short(name);
  const bool hides = std::any_of(ops.begin(), ops.end(), [&](const OpSchema* op) {
    return !op->inputs.empty() && fitting_output(*node.schema, op->inputs.front().type) != nullptr;
  });
  if (!hides || !context.noted.insert(node.schema->id() + "." + name).second) return;
  const std::string note =
      fmt::format("{}note: '{}' is a field of {} and hides the op of that name; the op is col.{}(node, {{...}})",
                  user_position(L), name, node.schema->name, name);
  std::fputs((LuaState::of(L).displayed(note) + "\n").c_str(), stderr);
}

int index_node(lua_State* L) {
  const NodeRef node = object_at<NodeHandle>(L, 1)->node;
  const std::string key = key_text(L);
  const auto& outputs = node->schema->outputs;
  const bool is_field =
      std::any_of(outputs.begin(), outputs.end(), [&](const OutputSpec& output) { return output.name == key; });
  if (is_field) {
    note_hidden_method(L, *node, key);
    push_object(L, FieldHandle{{node, key}});
    return 1;
  }
  if (key == value_method) {
    lua_pushcfunction(L, &guarded<await_value>);
    return 1;
  }
  const FieldRef subject{node, outputs.front().name};
  if (push_method(L, key, subject, true)) return 1;
  std::vector<std::string> names = method_names(L, subject, true);
  for (const OutputSpec& output : outputs) names.push_back(output.name);
  const std::string meant = did_you_mean(key, names);
  raise(L, fmt::format("{} has no field or method '{}'{} Its fields are: {}", described(*node), key,
                       meant.empty() ? "." : meant, listed_fields(*node->schema)));
}

int index_field(lua_State* L) {
  const FieldRef field = object_at<FieldHandle>(L, 1)->field;
  const std::string key = key_text(L);
  if (key == value_method) {
    lua_pushcfunction(L, &guarded<await_value>);
    return 1;
  }
  if (push_method(L, key, field, false)) return 1;
  raise(L, fmt::format("{} ({}) has no method '{}'{}", described(field), output_of(field).type, key,
                       did_you_mean(key, method_names(L, field, false))));
}

// `node:value()` where the node has a field "value" arrives here.
int call_field(lua_State* L) {
  const FieldRef field = object_at<FieldHandle>(L, 1)->field;
  if (field.field == value_method) {
    lua_settop(L, 1);
    return await_value(L);
  }
  const std::string& name = field.field;
  const bool hides = !context_of(L).catalogue.find_short(name).empty();
  raise(L, fmt::format("{} is a field, which cannot be called{}", described(field),
                       hides ? fmt::format("; the op of that name is col.{}(node, {{...}})", name) : ""));
}

int call_recipe(lua_State* L) {
  Application application = object_at<RecipeHandle>(L, 1)->application;
  const int count = lua_gettop(L);
  const bool has_subject = count > 1 && field_at(L, 2).has_value();
  if (has_subject) give_first_input(L, 2, application);
  const int table = has_subject ? 3 : 2;
  if (count > table || (count == table && !lua_istable(L, table)) || count < 2) {
    raise(L, fmt::format("a recipe of {} takes its first input '{}' and perhaps a table; found {}",
                         application.schema->name, application.schema->inputs.front().role,
                         described(L, count > table ? count : table)));
  }
  if (count == table) read_arguments(L, table, application);
  push_applied(L, std::move(application));
  return 1;
}

int recipe_with(lua_State* L) {
  const auto* recipe = object_at<RecipeHandle>(L, 1);
  if (recipe == nullptr || !lua_istable(L, 2)) raise(L, "with is written recipe:with { name = value, ... }");
  Application application = recipe->application;
  read_arguments(L, 2, application);
  push_applied(L, std::move(application));
  return 1;
}

int index_recipe(lua_State* L) {
  const std::string key = key_text(L);
  if (key == "with") {
    lua_pushcfunction(L, &guarded<recipe_with>);
    return 1;
  }
  const std::string name = object_at<RecipeHandle>(L, 1)->application.schema->name;
  raise(L, fmt::format("a recipe of {} has no '{}': it waits for its first input; recipe(node) makes a node of it, "
                       "recipe:with {{...}} another recipe",
                       name, key));
}

template <typename T>
int refuse_index(lua_State* L) {
  raise(L, fmt::format("a {} has no '{}'", lua_type_name<T>, key_text(L)));
}

int equal_nodes(lua_State* L) {
  const auto* a = object_at<NodeHandle>(L, 1);
  const auto* b = object_at<NodeHandle>(L, 2);
  lua_pushboolean(L, a != nullptr && b != nullptr && a->node == b->node);
  return 1;
}

int equal_fields(lua_State* L) {
  const auto* a = object_at<FieldHandle>(L, 1);
  const auto* b = object_at<FieldHandle>(L, 2);
  lua_pushboolean(L,
                  a != nullptr && b != nullptr && a->field.node == b->field.node && a->field.field == b->field.field);
  return 1;
}

}  // namespace

void register_handles(lua_State* L) {
  const luaL_Reg node[] = {{"__index", &guarded<index_node>},
                           {"__eq", &guarded<equal_nodes>},
                           {"__tostring", &guarded<object_to_string>},
                           {nullptr, nullptr}};
  const luaL_Reg field[] = {{"__index", &guarded<index_field>},
                            {"__call", &guarded<call_field>},
                            {"__eq", &guarded<equal_fields>},
                            {"__tostring", &guarded<object_to_string>},
                            {nullptr, nullptr}};
  const luaL_Reg recipe[] = {{"__index", &guarded<index_recipe>},
                             {"__call", &guarded<call_recipe>},
                             {"__tostring", &guarded<object_to_string>},
                             {nullptr, nullptr}};
  const luaL_Reg seed[] = {
      {"__index", &guarded<refuse_index<SeedHandle>>}, {"__tostring", &guarded<object_to_string>}, {nullptr, nullptr}};
  const luaL_Reg declaration[] = {
      {"__index", &guarded<refuse_index<Declaration>>}, {"__tostring", &guarded<object_to_string>}, {nullptr, nullptr}};
  const luaL_Reg study[] = {
      {"__index", &guarded<refuse_index<StudyHandle>>}, {"__tostring", &guarded<object_to_string>}, {nullptr, nullptr}};
  register_type<NodeHandle>(L, node);
  register_type<FieldHandle>(L, field);
  register_type<RecipeHandle>(L, recipe);
  register_type<SeedHandle>(L, seed);
  register_type<Declaration>(L, declaration);
  register_type<StudyHandle>(L, study);
}

std::optional<FieldRef> field_at(lua_State* L, int index) {
  if (const auto* field = object_at<FieldHandle>(L, index)) return field->field;
  if (const auto* node = object_at<NodeHandle>(L, index)) {
    return FieldRef{node->node, node->node->schema->outputs.front().name};
  }
  return std::nullopt;
}

bool type_fits(const std::string& given, const std::string& wanted) {
  return given == wanted || given == "any" || wanted == "any";
}

const OutputSpec& output_of(const FieldRef& field) {
  for (const OutputSpec& output : field.node->schema->outputs) {
    if (output.name == field.field) return output;
  }
  throw Error(ErrorKind::usage, fmt::format("{} has no field '{}'", field.node->schema->id(), field.field));
}

}  // namespace colonnade::host
