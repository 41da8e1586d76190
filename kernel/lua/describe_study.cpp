#include "kernel/lua/describe_study.h"

#include <fmt/format.h>

#include <algorithm>

#include "colonnade/text.h"
#include "kernel/lua/context.h"
#include "kernel/lua/declarations.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/files.h"
#include "kernel/lua/metrics.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

const std::vector<std::string> study_fields = {"name",   "question", "seeds",   "arms",  "metrics",
                                               "shared", "files",    "figures", "report"};
const std::vector<std::string> arm_fields = {"name", "model", "point", "expected"};
constexpr int kStudyTable = 1;
constexpr std::size_t kLongestName = 80;

// Pushes a field of the table at `index`; its Lua type.
int push_field(lua_State* L, int index, const std::string& name) {
  index = lua_absindex(L, index);
  push_text(L, name);
  return lua_rawget(L, index);
}

void require_fields(lua_State* L, int index, const std::string& what, const std::vector<std::string>& allowed) {
  for (const std::string& name : string_keys(L, index, what)) {
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) continue;
    const std::string meant = did_you_mean(name, allowed);
    raise(L, fmt::format("{} has no '{}'{} It has: {}", what, name, meant.empty() ? "." : meant, joined(allowed)));
  }
}

std::string text_field(lua_State* L, const std::string& name, const std::string& fallback) {
  const int type = push_field(L, kStudyTable, name);
  if (type != LUA_TNIL && type != LUA_TSTRING) {
    raise(L, fmt::format("study: {} is {}; allowed: a string", name, described(L, -1)));
  }
  const std::string text = type == LUA_TNIL ? fallback : text_at(L, -1);
  lua_pop(L, 1);
  return text;
}

// Names of studies become names of folders.
std::string study_name(lua_State* L, const std::string& fallback) {
  const std::string name = text_field(L, "name", fallback);
  constexpr const char* kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  if (name.empty() || name.size() > kLongestName || name.find_first_not_of(kAllowed) != std::string::npos) {
    raise(L, fmt::format("study: name = \"{}\"; allowed: up to {} letters, digits, _ and -", name, kLongestName));
  }
  return name;
}

std::vector<std::uint64_t> study_seeds(lua_State* L) {
  const int type = push_field(L, kStudyTable, "seeds");
  if (type == LUA_TNIL) {
    lua_pop(L, 1);
    return {0};
  }
  const lua_Integer length = type == LUA_TTABLE ? array_length(L, -1) : -1;
  if (length <= 0)
    raise(L, fmt::format("study: seeds is {}; allowed: a list of integers, {{0, 1, 2}}", described(L, -1)));
  std::vector<std::uint64_t> seeds;
  for (lua_Integer i = 1; i <= length; ++i) {
    lua_rawgeti(L, -1, i);
    if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 0) {
      raise(L, fmt::format("study: seeds[{}] is {}; allowed: an integer of at least 0", i, described(L, -1)));
    }
    const auto seed = static_cast<std::uint64_t>(lua_tointeger(L, -1));
    if (std::find(seeds.begin(), seeds.end(), seed) != seeds.end()) {
      raise(L, fmt::format("study: seeds holds {} twice", seed));
    }
    seeds.push_back(seed);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return seeds;
}

void require_arm_name(lua_State* L, const std::string& name) {
  if (!is_utf8(name)) raise(L, fmt::format("study: the arm's name {} is not UTF-8 text", shown(name)));
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    constexpr unsigned char kFirstPrintable = 0x20, kDelete = 0x7f;
    return byte >= kFirstPrintable && byte != kDelete && c != '/' && c != ',' && c != '|';
  });
  if (name != "." && name != ".." && !name.empty() && name.size() <= kLongestName && printable) return;
  raise(L, fmt::format("study: '{}' is no name for an arm; allowed: up to {} characters, none of them / , |", name,
                       kLongestName));
}

Json arm_point(lua_State* L, int index, const std::string& arm) {
  if (push_field(L, index, "point") == LUA_TNIL) {
    lua_pop(L, 1);
    return Json::object();
  }
  const std::string what = "study: the point of arm '" + arm + "'";
  const Json point = json_at(L, -1, what);
  lua_pop(L, 1);
  if (!point.is_object()) raise(L, what + " is no table of names and values");
  for (const auto& [name, level] : point.items()) {
    const bool reserved = name == "arm" || name == "seed";
    if (reserved || level.is_structured()) {
      raise(L, fmt::format("{}: '{}' {}", what, name,
                           reserved ? "is a column of its own; choose another name"
                                    : "is a table; allowed: numbers, strings, true and false"));
    }
  }
  return point;
}

// The arm whose model (a node, a field or a function) is on the top of the stack; pops it.
void add_arm(lua_State* L, const std::string& name, const Json& point) {
  StudyContext& context = context_of(L);
  require_arm_name(L, name);
  const auto& arms = context.description.arms;
  if (std::any_of(arms.begin(), arms.end(), [&](const Arm& other) { return other.name == name; })) {
    raise(L, fmt::format("study: two arms are called '{}'", name));
  }
  Arm arm;
  arm.name = name;
  arm.point = point;
  int function = LUA_NOREF;
  if (lua_isfunction(L, -1)) {
    arm.adaptive = true;
    function = luaL_ref(L, LUA_REGISTRYINDEX);
  } else {
    arm.output = field_at(L, -1);
    if (!arm.output) {
      raise(L, fmt::format("study: arm '{}' is {}; allowed: a node, a field, or a function(trial) that returns one",
                           name, described(L, -1)));
    }
    arm.files = files_of_model(L, name, point);
    arm.metrics = metrics_of_model(L, name, point);
  }
  context.description.arms.push_back(std::move(arm));
  context.arm_functions.push_back(function);
}

// What an adaptive arm may end with, if the entry at `index` says so: plans count its metrics.
void read_expected(lua_State* L, int index) {
  Arm& arm = context_of(L).description.arms.back();
  if (push_field(L, index, "expected") == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  if (!arm.adaptive || !field_at(L, -1)) {
    raise(L, fmt::format("study: arm '{}' expects {}; allowed: a node or a field, where the model is a function(trial)",
                         arm.name, described(L, -1)));
  }
  arm.expected = metrics_of_model(L, arm.name, arm.point);
}

// An entry of `arms` on the top of the stack: a model, or {name =, model =, point =}; pops it.
void add_entry(lua_State* L, std::string name, bool named_by_key) {
  if (!lua_istable(L, -1)) {
    if (!named_by_key) {
      raise(L, fmt::format("study: {} is {}; allowed: {{name = ..., model = ..., point = {{...}}}}", name,
                           described(L, -1)));
    }
    return add_arm(L, name, Json::object());
  }
  const int entry = lua_gettop(L);
  require_fields(L, entry, "study: arm '" + name + "'", arm_fields);
  const int type = push_field(L, entry, "name");
  if (type == LUA_TSTRING) {
    name = text_at(L, -1);
  } else if (type != LUA_TNIL || !named_by_key) {
    raise(L, fmt::format("study: the name of {} is {}; allowed: a string", name, described(L, -1)));
  }
  lua_pop(L, 1);
  const Json point = arm_point(L, entry, name);
  push_field(L, entry, "model");
  add_arm(L, name, point);
  read_expected(L, entry);
  lua_settop(L, entry - 1);
}

void read_arms(lua_State* L) {
  if (push_field(L, kStudyTable, "arms") != LUA_TTABLE) {
    raise(L, fmt::format(
                 "study: arms is {}; allowed: a table {{name = node, ...}} or a list of {{name =, model =, point =}}",
                 described(L, -1)));
  }
  const int arms = lua_gettop(L);
  const lua_Integer length = array_length(L, arms);
  if (length == 0) raise(L, "study: arms is empty");
  for (lua_Integer i = 1; i <= length; ++i) {
    lua_rawgeti(L, arms, i);
    add_entry(L, fmt::format("arms[{}]", i), false);
  }
  if (length < 0) {
    for (const std::string& name : string_keys(L, arms, "study: arms")) {
      push_field(L, arms, name);
      add_entry(L, name, true);
    }
  }
  lua_pop(L, 1);
}

void read_metrics_function(lua_State* L) {
  const int type = push_field(L, kStudyTable, "metrics");
  if (type == LUA_TFUNCTION) {
    context_of(L).metrics_function = luaL_ref(L, LUA_REGISTRYINDEX);
    return;
  }
  if (type != LUA_TNIL) {
    raise(L,
          fmt::format("study: metrics is {}; allowed: a function(model, arm) that returns a table of nodes and fields",
                      described(L, -1)));
  }
  lua_pop(L, 1);
}

// A function of the arm's model, or the files of no arm. Those are read after the arms, as `shared` is.
void read_files_function(lua_State* L) {
  const int type = push_field(L, kStudyTable, "files");
  if (type == LUA_TFUNCTION) {
    context_of(L).files_function = luaL_ref(L, LUA_REGISTRYINDEX);
    return;
  }
  if (type != LUA_TNIL && type != LUA_TTABLE) {
    raise(L, fmt::format(
                 "study: files is {}; allowed: a table {{[\"name.npy\"] = node or field, ...}} of values of no arm, "
                 "or a function(model, arm) that returns one",
                 described(L, -1)));
  }
  lua_pop(L, 1);
}

std::vector<MetricRef> shared_files(lua_State* L) {
  std::vector<MetricRef> files;
  if (push_field(L, kStudyTable, "files") == LUA_TTABLE) files = files_at(L, -1, "files");
  // Both would be folders of the run's files.
  for (const Arm& arm : context_of(L).description.arms) {
    const auto same = [&](const MetricRef& file) { return file.name == arm.name; };
    if (std::any_of(files.begin(), files.end(), same)) {
      raise(L, fmt::format("files: '{}' is the name of an arm too, whose files have a folder of that name", arm.name));
    }
  }
  lua_pop(L, 1);
  return files;
}

std::vector<const Declaration*> declarations_at(lua_State* L, const std::string& name, bool figures) {
  std::vector<const Declaration*> found;
  const int type = push_field(L, kStudyTable, name);
  const lua_Integer length = type == LUA_TNIL ? 0 : type == LUA_TTABLE ? array_length(L, -1) : -1;
  const std::string allowed =
      figures ? "col.scatter, line, heatmap, surface, pareto, bars" : "col.compare, effects, target, section, sharing";
  if (length < 0) raise(L, fmt::format("study: {} is {}; allowed: a list of {}", name, described(L, -1), allowed));
  for (lua_Integer i = 1; i <= length; ++i) {
    lua_rawgeti(L, -1, i);
    const auto* declaration = object_at<Declaration>(L, -1);
    if (declaration == nullptr || (declaration->kind == "figure") != figures) {
      raise(L, fmt::format("study: {}[{}] is {}; allowed: {}", name, i, described(L, -1), allowed));
    }
    found.push_back(declaration);  // the study's table keeps it alive
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return found;
}

bool draws_seed(const StudyDescription& description) {
  const auto symbolic = [](const MetricRef& metric) { return metric.from.node->symbolic; };
  const auto any = [&](const std::vector<MetricRef>& results) {
    return std::any_of(results.begin(), results.end(), symbolic);
  };
  return any(description.shared) || any(description.shared_files) ||
         std::any_of(description.arms.begin(), description.arms.end(),
                     [&](const Arm& arm) { return arm.adaptive || any(arm.metrics) || any(arm.files); });
}

// Calls a function of the study with the model at `model` and {name, point}; pushes what it returns.
void call_with_arm(lua_State* L, int function, int model, const std::string& arm, const Json& point) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, function);
  lua_pushvalue(L, model);
  lua_createtable(L, 0, 2);
  push_text(L, arm);
  lua_setfield(L, -2, "name");
  push_json(L, point);
  lua_setfield(L, -2, "point");
  lua_call(L, 2, 1);
}

}  // namespace

std::vector<MetricRef> metrics_of_model(lua_State* L, const std::string& arm, const Json& point) {
  const int function = context_of(L).metrics_function;
  const int model = lua_gettop(L);
  const FieldRef output = *field_at(L, model);
  std::vector<MetricRef> metrics;
  if (function == LUA_NOREF) {
    metrics = own_metrics(output, object_at<NodeHandle>(L, model) != nullptr);
    if (metrics.empty()) {
      raise(L, fmt::format(
                   "study: arm '{}' is {}, which gives {}; a study of such arms needs metrics = function(model) ... "
                   "end",
                   arm, described(output), output_of(output).type));
    }
  } else {
    call_with_arm(L, function, model, arm, point);
    metrics = metrics_at(L, -1, fmt::format("metrics of arm '{}'", arm));
    lua_pop(L, 1);
    if (metrics.empty()) raise(L, fmt::format("metrics of arm '{}': the table is empty", arm));
  }
  lua_settop(L, model - 1);
  return metrics;
}

std::vector<MetricRef> files_of_model(lua_State* L, const std::string& arm, const Json& point) {
  const int function = context_of(L).files_function;
  if (function == LUA_NOREF) return {};
  const int model = lua_gettop(L);
  call_with_arm(L, function, model, arm, point);
  std::vector<MetricRef> files = files_at(L, -1, fmt::format("files of arm '{}'", arm));
  lua_settop(L, model);
  return files;
}

int describe_study(lua_State* L) {
  StudyContext& context = context_of(L);
  if (lua_gettop(L) != 1 || !lua_istable(L, kStudyTable)) {
    raise(L, fmt::format("study takes one table, {{name = ..., arms = ...}}; found {}", described(L, 1)));
  }
  if (context.described) raise(L, "col.study was called before; a file describes one study");
  require_fields(L, kStudyTable, "study", study_fields);
  StudyDescription& description = context.description;
  description.name = study_name(L, context.folder.filename().string());
  description.question = text_field(L, "question", "");
  description.seeds = study_seeds(L);
  read_metrics_function(L);
  read_files_function(L);
  read_arms(L);
  if (push_field(L, kStudyTable, "shared") != LUA_TNIL) description.shared = metrics_at(L, -1, "shared");
  lua_pop(L, 1);
  description.shared_files = shared_files(L);
  description.figures = figure_documents(declarations_at(L, "figures", true), description);
  description.report = report_document(declarations_at(L, "report", false), description);
  description.draws_seed = draws_seed(description);
  context.described = true;
  push_object(L, StudyHandle{});
  return 1;
}

}  // namespace colonnade::host
