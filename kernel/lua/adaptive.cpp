#include "kernel/lua/adaptive.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "colonnade/random.h"
#include "kernel/lua/context.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

constexpr std::array readable_types = {"scalar", "table", "record", "any"};

ArmRun& running_arm(lua_State* L) {
  ArmRun* run = context_of(L).running;
  if (run == nullptr || run->thread != L) {
    raise(L,
          "a value can be asked for only inside an adaptive arm, a function(trial): nothing is evaluated while a study "
          "is "
          "read");
  }
  return *run;
}

FieldRef readable_field(lua_State* L, int index) {
  const std::optional<FieldRef> field = field_at(L, index);
  if (!field) raise(L, fmt::format("value: {} has no value; allowed: a node or a field", described(L, index)));
  const std::string& type = output_of(*field).type;
  if (std::find(readable_types.begin(), readable_types.end(), type) == readable_types.end()) {
    raise(L, fmt::format("value: {} is of type {}; studies can look at scalars, tables and records", described(*field),
                         type));
  }
  return *field;
}

void push_answer(lua_State* L, const FieldRef& field, const Json& answer) {
  const bool scalar = output_of(field).type == "scalar" && answer.is_object() && answer.contains("value");
  push_json(L, scalar ? answer.at("value") : answer);
}

int continue_value(lua_State* L) {
  const ArmRun& run = running_arm(L);
  push_answer(L, run.needs.at(0), run.answers.at(0));
  return 1;
}

// The keys of the asked for are at 2, in the order of the needs.
int continue_values(lua_State* L) {
  const ArmRun& run = running_arm(L);
  if (!run.refusal.empty()) {
    lua_pushnil(L);
    push_text(L, run.refusal);
    return 2;
  }
  constexpr int kKeys = 2;
  lua_createtable(L, 0, static_cast<int>(run.needs.size()));
  for (std::size_t i = 0; i < run.needs.size(); ++i) {
    lua_rawgeti(L, kKeys, static_cast<lua_Integer>(i + 1));
    push_answer(L, run.needs[i], run.answers.at(i));
    lua_rawset(L, -3);
  }
  return 1;
}

template <auto function>
int continuation(lua_State* L, int, lua_KContext) {
  return guarded<function>(L);
}

// trial.random(i) and trial.random(i, n). The trial's number is a function of its seed and i alone, so arms under one
// seed share their draws.
int draw_trial(lua_State* L) {
  const auto seed = static_cast<std::uint64_t>(lua_tointeger(L, lua_upvalueindex(1)));
  if (!lua_isinteger(L, 1) || lua_tointeger(L, 1) < 0) {
    raise(L,
          fmt::format("trial.random takes the index of a draw, an integer of at least 0; found {}", described(L, 1)));
  }
  const auto index = static_cast<std::uint64_t>(lua_tointeger(L, 1));
  const RandomStream stream = RandomStream().at("trial").at(seed);
  if (lua_isnoneornil(L, 2)) {
    lua_pushnumber(L, stream.uniform(index));
    return 1;
  }
  if (!lua_isinteger(L, 2) || lua_tointeger(L, 2) < 1) {
    raise(L, fmt::format("trial.random(i, n) draws from 1..n; n is {}", described(L, 2)));
  }
  const auto bound = static_cast<std::uint64_t>(lua_tointeger(L, 2));
  lua_pushinteger(L, static_cast<lua_Integer>(stream.at("integer").below(index, bound)) + 1);
  return 1;
}

}  // namespace

int await_value(lua_State* L) {
  ArmRun& run = running_arm(L);
  run.needs = {readable_field(L, 1)};
  run.attempt = false;
  return lua_yieldk(L, 0, 0, &continuation<continue_value>);
}

namespace {

int await_all(lua_State* L, const char* name, bool attempt) {
  ArmRun& run = running_arm(L);
  if (!lua_istable(L, 1))
    raise(L, fmt::format("{} takes a table of nodes and fields; found {}", name, described(L, 1)));
  lua_settop(L, 1);
  push_sorted_keys(L, 1);
  std::vector<FieldRef> needs;
  const auto count = static_cast<lua_Integer>(lua_rawlen(L, 2));
  if (count == 0) raise(L, fmt::format("{}: the table is empty", name));
  for (lua_Integer i = 1; i <= count; ++i) {
    lua_rawgeti(L, 2, i);
    lua_rawget(L, 1);
    needs.push_back(readable_field(L, lua_gettop(L)));
    lua_pop(L, 1);
  }
  run.needs = std::move(needs);
  run.attempt = attempt;
  return lua_yieldk(L, 0, 0, &continuation<continue_values>);
}

}  // namespace

int await_values(lua_State* L) {
  return await_all(L, "values", false);
}

int attempt_values(lua_State* L) {
  return await_all(L, "attempt", true);
}

void push_trial(lua_State* L, const std::string& arm, const Json& point, std::uint64_t seed) {
  lua_newtable(L);
  push_text(L, arm);
  lua_setfield(L, -2, "name");
  push_json(L, point);
  lua_setfield(L, -2, "point");
  lua_pushinteger(L, static_cast<lua_Integer>(seed));
  lua_setfield(L, -2, "seed");
  lua_pushinteger(L, static_cast<lua_Integer>(seed));
  lua_pushcclosure(L, &guarded<draw_trial>, 1);
  lua_setfield(L, -2, "random");
}

}  // namespace colonnade::host
