#include "kernel/lua/apply.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/lua/arguments.h"
#include "kernel/lua/context.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

std::string position_without_colon(lua_State* L) {
  std::string position = user_position(L);
  if (position.size() >= 2) position.resize(position.size() - 2);
  return position;
}

bool has_input(const Application& application, const std::string& role) {
  return std::any_of(application.inputs.begin(), application.inputs.end(),
                     [&](const NodeInput& input) { return input.role == role; });
}

// Several plugins offer the short name: which of them is meant has to be said.
[[noreturn]] void refuse_ambiguous(lua_State* L, const std::string& name, const std::vector<const OpSchema*>& ops) {
  std::vector<std::string> ids;
  for (const OpSchema* op : ops) ids.push_back("'" + op->id() + "'");
  raise(L, fmt::format("'{}' is offered by several plugins: {}; write col.op \"{}\" {{...}}", name, joined(ids),
                       ops.front()->id()));
}

void make_node(lua_State* L, Application application) {
  const OpSchema& schema = *application.schema;
  for (const InputSpec& input : schema.inputs) {
    if (input.optional || has_input(application, input.role)) continue;
    raise(L, fmt::format("{}: input '{}' ({}) is missing", schema.name, input.role, input.type));
  }
  Json params = complete_params(schema, application.params, position_without_colon(L));
  if (schema.random && !application.seed) application.seed = SeedBinding{};
  NodeRef node = context_of(L).nodes.make(schema, std::move(params), std::move(application.inputs), application.seed,
                                          application.stream, std::move(application.device),
                                          std::move(application.label), user_where(L));
  push_object(L, NodeHandle{std::move(node)});
}

int call_op(lua_State* L) {
  Application application;
  application.schema = static_cast<const OpSchema*>(lua_touserdata(L, lua_upvalueindex(1)));
  const int count = lua_gettop(L);
  const bool has_subject = count > 0 && field_at(L, 1).has_value();
  if (has_subject) give_first_input(L, 1, application);
  const int table = has_subject ? 2 : 1;
  const bool readable = count < table || (count == table && lua_istable(L, table));
  if (!readable) {
    const int strange = count > table && lua_istable(L, table) ? table + 1 : table;
    raise(L, fmt::format("{}: takes one table of inputs and parameters, {{name = value, ...}}; found {}",
                         application.schema->name, described(L, strange)));
  }
  if (count == table) read_arguments(L, table, application);
  push_applied(L, std::move(application));
  return 1;
}

}  // namespace

const OutputSpec* fitting_output(const OpSchema& schema, const std::string& type) {
  if (schema.outputs.empty()) return nullptr;
  if (type_fits(schema.outputs.front().type, type)) return &schema.outputs.front();
  const OutputSpec* only = nullptr;
  for (const OutputSpec& output : schema.outputs) {
    if (!type_fits(output.type, type)) continue;
    if (only != nullptr) return nullptr;
    only = &output;
  }
  return only;
}

void give_first_input(lua_State* L, int index, Application& application) {
  const OpSchema& schema = *application.schema;
  if (schema.inputs.empty()) {
    raise(L, fmt::format("{}: takes no inputs; found {}", schema.name, described(L, index)));
  }
  read_input(L, index, schema.inputs.front(), application);
}

void push_applied(lua_State* L, Application application) {
  const OpSchema& schema = *application.schema;
  const bool complete =
      schema.inputs.empty() || schema.inputs.front().optional || has_input(application, schema.inputs.front().role);
  if (complete) {
    make_node(L, std::move(application));
  } else {
    push_object(L, RecipeHandle{std::move(application)});
  }
}

void push_op_function(lua_State* L, const OpSchema& schema) {
  lua_pushlightuserdata(L, const_cast<OpSchema*>(&schema));  // Lua knows no const; call_op puts it back
  lua_pushcclosure(L, &guarded<call_op>, 1);
}

bool push_method(lua_State* L, const std::string& name, const FieldRef& subject, bool whole_node) {
  const std::vector<const OpSchema*> ops = context_of(L).catalogue.find_short(name);
  if (ops.empty()) return false;
  if (ops.size() > 1) refuse_ambiguous(L, name, ops);
  const OpSchema& op = *ops.front();
  const OpSchema& owner = *subject.node->schema;
  if (op.inputs.empty()) {
    raise(L, fmt::format("{} takes no inputs, so it is no method of {}; write col.{} {{...}}", name,
                         described(*subject.node), name));
  }
  const std::string& wanted = op.inputs.front().type;
  const bool fits = whole_node ? fitting_output(owner, wanted) != nullptr : type_fits(output_of(subject).type, wanted);
  if (!fits) {
    raise(L, fmt::format("{}: input '{}' takes {}, but {} gives {}", name, op.inputs.front().role, wanted,
                         whole_node ? described(*subject.node) : described(subject),
                         whole_node ? listed_fields(owner) : output_of(subject).type));
  }
  push_op_function(L, op);
  return true;
}

Json recipe_document(lua_State* L, const Application& recipe, const Param& param, const OpSchema& receiver) {
  const OpSchema& op = *recipe.schema;
  if (!param.accepts.empty() && !type_fits(op.outputs.front().type, param.accepts)) {
    raise(L, fmt::format("{}: {} takes a recipe of an op that gives {}, but {} gives {}", receiver.name, param.name,
                         param.accepts, op.name, op.outputs.front().type));
  }
  if (!recipe.inputs.empty()) {
    raise(L, fmt::format("{}: {} takes a recipe of parameters only, but this one of {} holds the input '{}'",
                         receiver.name, param.name, op.name, recipe.inputs.front().role));
  }
  const char* own = recipe.seed ? "seed" : recipe.stream ? "stream" : nullptr;
  if (own == nullptr) own = !recipe.device.empty() ? "device" : !recipe.label.empty() ? "label" : nullptr;
  if (own != nullptr) {
    raise(L, fmt::format("{}: {} runs inside {} and takes its {} from there; the recipe of {} cannot have its own",
                         receiver.name, param.name, receiver.name, own, op.name));
  }
  return {{"op", op.id()}, {"params", complete_params(op, recipe.params, position_without_colon(L))}};
}

void read_arguments(lua_State* L, int index, Application& application) {
  index = lua_absindex(L, index);
  const OpSchema& schema = *application.schema;
  const std::string where = position_without_colon(L);
  const std::vector<std::string> names = string_keys(L, index, schema.name + ": the table of inputs and parameters");
  for (const std::string& name : names) {
    push_text(L, name);
    lua_rawget(L, index);
    const auto input = std::find_if(schema.inputs.begin(), schema.inputs.end(),
                                    [&](const InputSpec& spec) { return spec.role == name; });
    if (input != schema.inputs.end()) {
      read_input(L, -1, *input, application);
    } else if (const Param* param = schema.find_param(name)) {
      application.params[name] = check_param(schema, *param, param_at(L, -1, *param, schema), where);
    } else if (!read_reserved(L, -1, name, application)) {
      refuse_unknown_argument(L, schema, name);
    }
    lua_pop(L, 1);
  }
}

}  // namespace colonnade::host
