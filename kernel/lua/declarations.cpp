#include "kernel/lua/declarations.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kernel/lua/context.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

struct DeclarationKind {
  std::string kind;  // of Declaration
  OpSchema schema;   // the options, checked like an op's parameters
};

Param optional_text(const std::string& name, const std::string& doc, const std::string& fallback = "") {
  return text(name, doc).fall_back(fallback);
}

Param flag(const std::string& name, const std::string& doc) {
  return boolean(name, doc).fall_back(false);
}

OpSchema figure(const std::string& type, std::vector<Param> own, const std::string& axes) {
  OpSchema schema;
  schema.name = type;
  schema.params = {optional_text("name", "name of the file, without ending"),
                   optional_text("title", "title of the figure"),
                   optional_text("from", "a table metric whose rows are drawn; otherwise trials are"),
                   list("arms", ParamType::string, "arms shown; all if empty").fall_back(Json::array()),
                   choice("log", {"", "x", "y", "xy"}, "logarithmic axes").fall_back("")};
  for (const char axis : axes)
    schema.params.push_back(optional_text(std::string(1, axis) + "_label", "the axis's label"));
  for (Param& param : own) schema.params.push_back(std::move(param));
  return schema;
}

OpSchema part(const std::string& name, std::vector<Param> own) {
  OpSchema schema;
  schema.name = name;
  schema.params = std::move(own);
  return schema;
}

std::vector<DeclarationKind> make_kinds() {
  const Param x = text("x", "column along x"), y = text("y", "column along y"), z = text("z", "column of the value");
  const Param several = list("y", ParamType::string, "columns along y");
  const Param group = optional_text("group", "column that makes series", "arm");
  const Param metric = list("metric", ParamType::string, "metrics");
  const Param log = flag("log", "on logarithms");
  const auto better = [](const std::string& name) {
    return choice(name, {"lower", "higher"}, "which direction is good").fall_back("lower");
  };
  return {
      {"figure", figure("scatter", {x, y, group}, "xy")},
      {"figure", figure("line", {x, several, group}, "xy")},
      {"figure", figure("heatmap", {x, y, z}, "xyz")},
      {"figure", figure("surface", {x, y, z}, "xyz")},
      {"figure", figure("pareto", {x, y, group, better("x_better"), better("y_better")}, "xy")},
      {"figure", figure("bars",
                        {optional_text("x", "column of the categories", "arm"), several,
                         optional_text("group", "column that makes series")},
                        "xy")},
      {"comparison", part("compare", {metric, text("baseline", "the arm that the others are compared with"), log})},
      {"effects", part("effects", {metric, list("factors", ParamType::string, "names in the arms' points"), log})},
      {"target",
       part(
           "target",
           {text("name", "what is aimed at"), text("metric", "the metric held against it"), real("value", "the aim"),
            choice("better", {"lower", "higher"}, "which direction is good"),
            choice("as", {"value", "reduction", "ratio"}, "what of the metric is compared").fall_back("value"),
            optional_text("baseline", "the arm that reductions and ratios are of"),
            optional_text("arm", "the arm it is asked of; every arm if empty"),
            real("cap", "the best that can be reached here").optional(), optional_text("note", "why there is a cap")})},
      {"section", part("section", {text("title", "heading"), optional_text("text", "paragraphs"),
                                   list("table", ParamType::string, "metrics shown by arm").fall_back(Json::array())})},
      {"sharing",
       part("sharing", {text("title", "heading"), list("arms", ParamType::string, "whose evaluations are counted"),
                        optional_text("beyond", "an arm whose nodes do not count")})},
  };
}

const std::vector<DeclarationKind>& kinds() {
  static const std::vector<DeclarationKind> all = make_kinds();
  return all;
}

// Where a list of names is wanted, one name will do.
void wrap_single_names(const OpSchema& schema, Json& options) {
  for (const Param& param : schema.params) {
    const bool single =
        param.type == ParamType::list && options.contains(param.name) && options[param.name].is_string();
    if (single) options[param.name] = Json::array({options[param.name]});
  }
}

int declare(lua_State* L) {
  const DeclarationKind& kind = kinds().at(static_cast<std::size_t>(lua_tointeger(L, lua_upvalueindex(1))));
  const std::string position = user_position(L);
  if (lua_gettop(L) != 1 || !lua_istable(L, 1)) {
    raise(L, fmt::format("{} takes one table of options; found {}", kind.schema.name, described(L, 1)));
  }
  Json options = json_at(L, 1, kind.schema.name);
  if (options.is_array()) raise(L, fmt::format("{}: options are named, {{name = value, ...}}", kind.schema.name));
  wrap_single_names(kind.schema, options);
  const std::string where = position.substr(0, position.rfind(':'));
  Json document = complete_params(kind.schema, options, where);
  if (kind.kind == "figure") document["type"] = kind.schema.name;
  push_object(L, Declaration{kind.kind, std::move(document), position});
  return 1;
}

// What a study's figures and report may name.
struct Names {
  std::vector<std::string> arms, factors, metrics;
  std::set<std::string> tables;
  bool complete = true;  // no adaptive arm, whose metrics are not known yet
};

void add_unique(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

Names names_of(const StudyDescription& study) {
  Names names;
  std::vector<MetricRef> metrics = study.shared;
  for (const Arm& arm : study.arms) {
    names.arms.push_back(arm.name);
    for (const auto& [factor, level] : arm.point.items()) add_unique(names.factors, factor);
    metrics.insert(metrics.end(), arm.metrics.begin(), arm.metrics.end());
    names.complete = names.complete && !arm.adaptive;
  }
  for (const MetricRef& metric : metrics) {
    if (output_of(metric.from).type == "table") names.tables.insert(metric.name);
    add_unique(names.metrics, metric.name);
  }
  return names;
}

// Refuses a name that is none of `known`.
void require_name(const Declaration& declaration, const std::string& option, const std::string& name,
                  const std::vector<std::string>& known, const std::string& what) {
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  const std::string meant = did_you_mean(name, known);
  throw Error(ErrorKind::usage, fmt::format("{}{} = \"{}\" is no {}{} There are: {}", declaration.position, option,
                                            name, what, meant.empty() ? "." : meant, joined(known)));
}

void require_names(const Declaration& declaration, const std::string& option, const std::vector<std::string>& known,
                   const std::string& what) {
  const Json& given = declaration.document.at(option);
  if (given.is_string()) return require_name(declaration, option, given.get<std::string>(), known, what);
  for (const Json& name : given) require_name(declaration, option, name.get<std::string>(), known, what);
}

void check_figure(const Declaration& declaration, const Names& names) {
  require_names(declaration, "arms", names.arms, "arm");
  if (!names.complete) return;
  const std::string from = declaration.document.at("from");
  const std::vector<std::string> tables(names.tables.begin(), names.tables.end());
  if (!from.empty()) return require_name(declaration, "from", from, tables, "table metric");  // columns: known later
  std::vector<std::string> columns = {"arm", "seed"};
  columns.insert(columns.end(), names.factors.begin(), names.factors.end());
  for (const std::string& metric : names.metrics) {
    if (names.tables.count(metric) == 0) columns.push_back(metric);
  }
  for (const char* option : {"x", "y", "z"}) {
    if (declaration.document.contains(option)) require_names(declaration, option, columns, "column");
  }
  const std::string group = declaration.document.value("group", "");
  if (!group.empty()) require_name(declaration, "group", group, columns, "column");
}

void check_part(const Declaration& declaration, const Names& names) {
  const Json& document = declaration.document;
  for (const char* option : {"metric", "table"}) {
    if (names.complete && document.contains(option)) require_names(declaration, option, names.metrics, "metric");
  }
  if (document.contains("factors")) require_names(declaration, "factors", names.factors, "factor of the arms' points");
  if (document.contains("arms")) require_names(declaration, "arms", names.arms, "arm");
  for (const char* option : {"baseline", "arm", "beyond"}) {
    const std::string arm = document.value(option, "");
    if (!arm.empty()) require_name(declaration, option, arm, names.arms, "arm");
  }
  const std::string as = document.value("as", "value");
  if (as != "value" && document.at("baseline") == "") {
    throw Error(ErrorKind::usage,
                fmt::format("{}target: as = \"{}\" needs a baseline, the name of an arm", declaration.position, as));
  }
}

}  // namespace

void add_declarations(lua_State* L) {
  for (std::size_t i = 0; i < kinds().size(); ++i) {
    lua_pushinteger(L, static_cast<lua_Integer>(i));
    lua_pushcclosure(L, &guarded<declare>, 1);
    lua_setfield(L, -2, kinds()[i].schema.name.c_str());
  }
}

Json figure_documents(const std::vector<const Declaration*>& figures, const StudyDescription& study) {
  const Names names = names_of(study);
  Json documents = Json::array();
  std::set<std::string> files;
  for (const Declaration* figure : figures) {
    check_figure(*figure, names);
    Json document = figure->document;
    const std::string type = document.at("type");
    if (document.at("name") == "") document["name"] = fmt::format("{}-{}", type, documents.size() + 1);
    const std::string name = document.at("name");
    constexpr const char* kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (name.find_first_not_of(kAllowed) != std::string::npos) {
      throw Error(ErrorKind::usage,
                  fmt::format("{}{}: name = \"{}\" is to be a file's; allowed: letters, digits, _ and -",
                              figure->position, type, name));
    }
    if (!files.insert(name).second) {
      throw Error(ErrorKind::usage, fmt::format("{}two figures are called '{}'", figure->position, name));
    }
    documents.push_back(std::move(document));
  }
  return documents;
}

Json report_document(const std::vector<const Declaration*>& parts, const StudyDescription& study) {
  const Names names = names_of(study);
  const std::vector<std::pair<std::string, std::string>> lists = {{"comparison", "comparisons"},
                                                                  {"effects", "effects"},
                                                                  {"target", "targets"},
                                                                  {"section", "sections"},
                                                                  {"sharing", "sharing"}};
  Json report = Json::object();
  for (const auto& [kind, list_name] : lists) {
    report[list_name] = Json::array();
    for (const Declaration* declared : parts) {
      if (declared->kind != kind) continue;
      check_part(*declared, names);
      report[list_name].push_back(declared->document);
    }
  }
  return report;
}

}  // namespace colonnade::host
