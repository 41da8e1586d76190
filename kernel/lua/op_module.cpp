#include "kernel/lua/op_module.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "colonnade/text.h"
#include "kernel/lua/adaptive.h"
#include "kernel/lua/apply.h"
#include "kernel/lua/context.h"
#include "kernel/lua/declarations.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/describe_study.h"
#include "kernel/lua/values.h"
#include "kernel/study/settings.h"

namespace colonnade::host {

namespace {

// Where a plugin is there but does not work, that is the reason to give.
std::string disabled_reason(const Catalogue& catalogue, const std::string& id) {
  const PluginInfo* plugin = catalogue.find_plugin(id.substr(0, id.find('/')));
  if (plugin == nullptr || plugin->disabled.empty()) return "";
  return fmt::format("; the plugin {} is disabled: {}", plugin->name, plugin->disabled);
}

std::vector<std::string> op_names(const Catalogue& catalogue, bool full) {
  std::vector<std::string> names;
  for (const OpSchema* op : catalogue.ops()) names.push_back(full ? op->id() : op->name);
  return names;
}

// Op by its full id or a unique short name.
int named_op(lua_State* L) {
  if (lua_type(L, 1) != LUA_TSTRING) {
    raise(L, fmt::format("op takes the name of an op, col.op \"plugin/op\" {{...}}; found {}", described(L, 1)));
  }
  const std::string name = text_at(L, 1);
  const Catalogue& catalogue = context_of(L).catalogue;
  const OpSchema* op = catalogue.find_op(name);
  if (op == nullptr) {
    const auto short_named = catalogue.find_short(name);
    if (short_named.size() == 1) op = short_named.front();
    if (short_named.size() > 1) {
      raise(L, fmt::format("op: '{}' is offered by several plugins: '{}', '{}'; name it in full", name,
                           short_named[0]->id(), short_named[1]->id()));
    }
  }
  if (op == nullptr) {
    const bool full = name.find('/') != std::string::npos;
    raise(L, fmt::format("op: there is no op '{}'{}{}", name, did_you_mean(name, op_names(catalogue, full)),
                         disabled_reason(catalogue, name)));
  }
  push_op_function(L, *op);
  return 1;
}

const char* kind_of_setting(const Json& value) {
  return value.is_number() ? "number" : value.type_name();
}

int read_setting(lua_State* L) {
  StudyContext& context = context_of(L);
  if (lua_type(L, 1) != LUA_TSTRING) raise(L, fmt::format("setting takes a setting's name; found {}", described(L, 1)));
  const std::string name = text_at(L, 1);
  const bool has_default = lua_gettop(L) > 1 && !lua_isnil(L, 2);
  const Json fallback = has_default ? json_at(L, 2, "setting: the default of '" + name + "'") : Json();
  const Json* found = find_setting(context.settings.values, name);
  if (found == nullptr && !has_default) {
    const std::vector<std::string> names = setting_names(context.settings.values);
    raise(L, fmt::format("setting: there is no setting '{}'{}{} It is given in study.toml or by --set {}=VALUE", name,
                         did_you_mean(name, names), nearest_name(name, names).empty() ? "." : "", name));
  }
  Json value = found != nullptr ? *found : fallback;
  if (has_default && std::string(kind_of_setting(value)) != kind_of_setting(fallback)) {
    const std::string origin = context.settings.origin_text(name, "");
    raise(L, fmt::format("setting: '{}' is {}{}; its default here, {}, is a {}", name, shown(value),
                         origin.empty() ? "" : " (" + origin + ")", shown(fallback),
                         kind_of_setting(fallback)));
  }
  if (fallback.is_number_float() && value.is_number()) value = value.get<double>();
  context.description.used_settings[name] = value;
  push_json(L, value);
  return 1;
}

int fail_at_user(lua_State* L) {
  raise(L, lua_type(L, 1) == LUA_TSTRING ? text_at(L, 1) : described(L, 1));
}

int kind_of_value(lua_State* L) {
  luaL_checkany(L, 1);
  const bool is_ours = lua_isuserdata(L, 1) && luaL_getmetafield(L, 1, "__name") == LUA_TSTRING;
  if (!is_ours) lua_pushstring(L, luaL_typename(L, 1));
  return 1;
}

const luaL_Reg functions[] = {{"study", &guarded<describe_study>},
                              {"op", &guarded<named_op>},
                              {"setting", &guarded<read_setting>},
                              {"values", &guarded<await_values>},
                              {"attempt", &guarded<attempt_values>},
                              {"fail", &guarded<fail_at_user>},
                              {"kind", &guarded<kind_of_value>},
                              {nullptr, nullptr}};

std::vector<std::string> host_names(lua_State* L) {
  return string_keys(L, lua_upvalueindex(1), "the module");
}

// Upvalue: the host's functions.
int index_module(lua_State* L) {
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const std::string name = plain_text(L, 2);
  const Catalogue& catalogue = context_of(L).catalogue;
  const std::vector<const OpSchema*> ops = catalogue.find_short(name);
  if (ops.size() == 1) {
    push_op_function(L, *ops.front());
    return 1;
  }
  if (ops.size() > 1) {
    raise(L, fmt::format("'{}' is offered by several plugins: '{}', '{}'; write col.op \"{}\" {{...}}", name,
                         ops[0]->id(), ops[1]->id(), ops[0]->id()));
  }
  std::vector<std::string> names = op_names(catalogue, false);
  for (const std::string& own : host_names(L)) names.push_back(own);
  raise(L, fmt::format("there is no op or function '{}'{}{}", name, did_you_mean(name, names),
                       disabled_reason(catalogue, name)));
}

int refuse_write(lua_State* L) {
  raise(L, fmt::format("the module colonnade cannot be changed: '{}' was assigned", plain_text(L, 2)));
}

}  // namespace

void push_op_module(lua_State* L) {
  lua_newtable(L);  // the module is empty, so that every access is answered by index_module
  lua_newtable(L);
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  add_declarations(L);
  push_object(L, SeedHandle{});
  lua_setfield(L, -2, "seed");
  lua_pushcclosure(L, &guarded<index_module>, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, &guarded<refuse_write>);
  lua_setfield(L, -2, "__newindex");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
}

}  // namespace colonnade::host
