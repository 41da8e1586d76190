#include "kernel/lua/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "kernel/lua/apply.h"
#include "kernel/lua/context.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/values.h"
#include "kernel/study/settings.h"

namespace colonnade::host {

namespace {

namespace fs = std::filesystem;

std::string listed_types(const OpSchema& schema, const std::string& type) {
  std::vector<std::string> fields;
  for (const OutputSpec& output : schema.outputs) {
    if (type_fits(output.type, type)) fields.push_back(schema.name + "." + output.name);
  }
  return joined(fields);
}

// The one field that an input takes from the value at `index`.
FieldRef input_field(lua_State* L, int index, const InputSpec& role, const OpSchema& schema) {
  if (const auto* field = object_at<FieldHandle>(L, index)) {
    const std::string& type = output_of(field->field).type;
    if (type_fits(type, role.type)) return field->field;
    raise(L, fmt::format("{}: input '{}' takes {}, but {} is {}", schema.name, role.role, role.type,
                         described(field->field), type));
  }
  const auto* handle = object_at<NodeHandle>(L, index);
  if (handle == nullptr) {
    raise(L, fmt::format("{}: input '{}' takes a node or field of type {}; found {}", schema.name, role.role, role.type,
                         described(L, index)));
  }
  const OpSchema& giver = *handle->node->schema;
  if (const OutputSpec* output = fitting_output(giver, role.type)) return {handle->node, output->name};
  const std::string fitting = listed_types(giver, role.type);
  if (fitting != "none") {
    raise(L, fmt::format("{}: input '{}' takes {}, and {} has several: {}; name one", schema.name, role.role, role.type,
                         described(*handle->node), fitting));
  }
  raise(L, fmt::format("{}: input '{}' takes {}, but {} gives {}", schema.name, role.role, role.type,
                       described(*handle->node), listed_fields(giver)));
}

// The name of a setting within `value`, itself called `name`, that holds the text; "" if none does.
std::string setting_that_holds(const Json& value, const std::string& name, const std::string& text, bool as_path) {
  if (value.is_string()) return value == text && names_a_path(name) == as_path ? name : "";
  if (!value.is_structured()) return "";
  for (const auto& [key, item] : value.items()) {
    const std::string inner = value.is_array() ? name : name.empty() ? key : name + "." + key;
    if (const std::string found = setting_that_holds(item, inner, text, as_path); !found.empty()) return found;
  }
  return "";
}

// Only by their names can settings be told to be paths, which --set reads in the working folder and the lock by
// content.
void require_path_setting(lua_State* L, const std::string& text, const Param& param, const OpSchema& schema) {
  const Json& used = context_of(L).description.used_settings;
  const std::string setting = setting_that_holds(used, "", text, false);
  if (setting.empty() || !setting_that_holds(used, "", text, true).empty()) return;
  raise(L,
        fmt::format("{}: {} = \"{}\" comes from the setting '{}', whose name does not say that it is a path; call it "
                    "path, file or folder, or let it end in _path, _file or _folder",
                    schema.name, param.name, text, setting));
}

std::string existing_path(lua_State* L, const std::string& text, const Param& param, const OpSchema& schema) {
  if (text.empty()) return text;  // check_param says what is wrong with it
  const StudyContext& context = context_of(L);
  require_path_setting(L, text, param, schema);
  fs::path path = (context.folder / text).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::error_code error;
  if (fs::exists(path, error)) return path.string();
  std::vector<std::string> neighbours;
  for (const auto& entry : fs::directory_iterator(path.parent_path(), error)) {
    neighbours.push_back((fs::path(text).parent_path() / entry.path().filename()).string());
  }
  const std::string relative = fs::path(text).is_absolute() ? "" : ", looked for in the study's folder";
  raise(L, fmt::format("{}: {} = \"{}\": there is no such file or folder{}{}", schema.name, param.name, text, relative,
                       did_you_mean(text, neighbours)));
}

bool is_plain(lua_State* L, int index) {
  const int type = lua_type(L, index);
  return type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TTABLE;
}

[[noreturn]] void refuse_value(lua_State* L, int index, const Param& param, const OpSchema& schema) {
  raise(L, fmt::format("{}: {} is {}; allowed: {}", schema.name, param.name, described(L, index), allowed_text(param)));
}

Json list_at(lua_State* L, int index, const Param& param, const OpSchema& schema) {
  const lua_Integer length = array_length(L, index);
  if (length < 0) return json_at(L, index, schema.name + ": " + param.name);
  Param element = param;
  element.type = param.element;
  Json list = Json::array();
  for (lua_Integer i = 1; i <= length; ++i) {
    lua_rawgeti(L, index, i);
    element.name = fmt::format("{}[{}]", param.name, i);
    list.push_back(param_at(L, lua_gettop(L), element, schema));
    lua_pop(L, 1);
  }
  return list;
}

std::uint64_t natural_at(lua_State* L, int index, const std::string& name, const OpSchema& schema) {
  if (!lua_isinteger(L, index) || lua_tointeger(L, index) < 0) {
    raise(L, fmt::format("{}: {} is {}; allowed: an integer of at least 0{}", schema.name, name, described(L, index),
                         name == "seed" ? ", or col.seed" : ""));
  }
  return static_cast<std::uint64_t>(lua_tointeger(L, index));
}

std::string chosen_device(lua_State* L, int index, const OpSchema& schema) {
  const std::string device = lua_type(L, index) == LUA_TSTRING ? text_at(L, index) : "";
  if (device != "cpu" && device != "cuda") {
    raise(L, fmt::format("{}: device is {}; allowed: 'cpu', 'cuda'", schema.name, described(L, index)));
  }
  if (schema.device != "any" && schema.device != device) {
    raise(L, fmt::format("{}: device = '{}', but this op runs on {} only", schema.name, device, schema.device));
  }
  return device;
}

}  // namespace

void read_input(lua_State* L, int index, const InputSpec& role, Application& application) {
  index = lua_absindex(L, index);
  std::vector<NodeInput>& inputs = application.inputs;
  inputs.erase(
      std::remove_if(inputs.begin(), inputs.end(), [&](const NodeInput& old) { return old.role == role.role; }),
      inputs.end());
  const OpSchema& schema = *application.schema;
  if (!role.many || !lua_istable(L, index)) {
    inputs.push_back({role.role, input_field(L, index, role, schema)});
    return;
  }
  const lua_Integer length = array_length(L, index);
  if (length <= 0) {
    raise(L, fmt::format("{}: input '{}' takes a list of nodes or fields, {{a, b, ...}}, with at least one",
                         schema.name, role.role));
  }
  for (lua_Integer i = 1; i <= length; ++i) {
    lua_rawgeti(L, index, i);
    inputs.push_back({role.role, input_field(L, lua_gettop(L), role, schema)});
    lua_pop(L, 1);
  }
}

Json param_at(lua_State* L, int index, const Param& param, const OpSchema& schema) {
  index = lua_absindex(L, index);
  if (param.type == ParamType::recipe) {
    if (const auto* recipe = object_at<RecipeHandle>(L, index)) {
      return recipe_document(L, recipe->application, param, schema);
    }
    if (!lua_isnil(L, index)) refuse_value(L, index, param, schema);
  }
  if (param.type == ParamType::list && lua_istable(L, index)) return list_at(L, index, param, schema);
  if (param.type == ParamType::path && lua_type(L, index) == LUA_TSTRING) {
    return existing_path(L, text_at(L, index), param, schema);
  }
  if (!is_plain(L, index)) refuse_value(L, index, param, schema);
  return json_at(L, index, schema.name + ": " + param.name);
}

bool read_reserved(lua_State* L, int index, const std::string& name, Application& application) {
  const OpSchema& schema = *application.schema;
  if (name == "label") {
    if (lua_type(L, index) != LUA_TSTRING || text_at(L, index).empty()) {
      raise(L, fmt::format("{}: label is {}; allowed: a string", schema.name, described(L, index)));
    }
    application.label = text_at(L, index);
    return true;
  }
  if (name == "device") {
    application.device = chosen_device(L, index, schema);
    return true;
  }
  if (name != "seed" && name != "stream") return false;
  if (!schema.random) raise(L, fmt::format("{}: draws no random numbers, so it takes no {}", schema.name, name));
  if (name == "seed") {
    const bool symbolic = object_at<SeedHandle>(L, index) != nullptr;
    application.seed = symbolic ? SeedBinding{} : SeedBinding{false, natural_at(L, index, name, schema)};
    return true;
  }
  if (schema.fixed_stream) {
    raise(L,
          fmt::format("{}: draws the same numbers at every occurrence on purpose, so it takes no stream", schema.name));
  }
  application.stream = natural_at(L, index, name, schema);
  return true;
}

void refuse_unknown_argument(lua_State* L, const OpSchema& schema, const std::string& name) {
  std::vector<std::string> names;
  for (const InputSpec& input : schema.inputs) names.push_back(input.role);
  for (const Param& param : schema.params) names.push_back(param.name);
  names.insert(names.end(), {"device", "label"});
  if (schema.random) names.push_back("seed");
  if (schema.random && !schema.fixed_stream) names.push_back("stream");
  const std::string meant = did_you_mean(name, names);
  raise(L, fmt::format("{}: unknown input or parameter '{}'{} It has: {}", schema.name, name,
                       meant.empty() ? "." : meant, joined(names)));
}

}  // namespace colonnade::host
