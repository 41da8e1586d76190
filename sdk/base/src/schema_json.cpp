#include <array>
#include <utility>

#include "colonnade/error.h"
#include "colonnade/param_names.h"
#include "colonnade/schema.h"

namespace colonnade {
namespace {

template <typename Enum>
using Name = std::pair<Enum, const char*>;

constexpr std::array<Name<ParamType>, 9> kParamTypes = {{{ParamType::boolean, "boolean"},
                                                         {ParamType::integer, "integer"},
                                                         {ParamType::real, "real"},
                                                         {ParamType::string, "string"},
                                                         {ParamType::choice, "choice"},
                                                         {ParamType::path, "path"},
                                                         {ParamType::list, "list"},
                                                         {ParamType::recipe, "recipe"},
                                                         {ParamType::sites, "sites"}}};
constexpr std::array<Name<Search>, 3> kSearches = {
    {{Search::no, "no"}, {Search::linear, "linear"}, {Search::log, "log"}}};
constexpr std::array<Name<OpClass>, 4> kOpClasses = {{{OpClass::bitwise, "bitwise"},
                                                      {OpClass::tolerant, "tolerant"},
                                                      {OpClass::stochastic, "stochastic"},
                                                      {OpClass::measured, "measured"}}};

template <typename Enum, std::size_t N>
const char* name_of(const std::array<Name<Enum>, N>& names, Enum value) {
  for (const auto& [candidate, name] : names) {
    if (candidate == value) return name;
  }
  throw Error(ErrorKind::environment, "a schema holds a number that names nothing");
}

template <typename Enum, std::size_t N>
Enum value_of(const std::array<Name<Enum>, N>& names, const Json& document) {
  const auto& text = document.get_ref<const std::string&>();
  for (const auto& [value, name] : names) {
    if (text == name) return value;
  }
  throw Error(ErrorKind::environment, "a stored schema says '" + text + "', which this version does not know");
}

Json bound_to_json(const std::optional<double>& bound) {
  return bound ? Json(*bound) : Json();
}

std::optional<double> bound_from_json(const Json& document) {
  if (document.is_null()) return std::nullopt;
  return document.get<double>();
}

Json param_to_json(const Param& param) {
  Json document = {{"name", param.name},
                   {"type", param_type_name(param.type)},
                   {"element", param_type_name(param.element)},
                   {"min", bound_to_json(param.min)},
                   {"max", bound_to_json(param.max)},
                   {"min_exclusive", param.min_exclusive},
                   {"max_exclusive", param.max_exclusive},
                   {"accepts", param.accepts},
                   {"unit", param.unit},
                   {"doc", param.doc},
                   {"search", name_of(kSearches, param.search)},
                   {"nullable", param.nullable}};
  document["choices"] = param.choices;
  if (param.fallback) document["default"] = *param.fallback;
  return document;
}

Param param_from_json(const Json& document) {
  Param param;
  param.name = document.at("name").get<std::string>();
  param.type = param_type_from_name(document.at("type"));
  param.element = param_type_from_name(document.at("element"));
  param.min = bound_from_json(document.at("min"));
  param.max = bound_from_json(document.at("max"));
  param.min_exclusive = document.at("min_exclusive").get<bool>();
  param.max_exclusive = document.at("max_exclusive").get<bool>();
  param.choices = document.at("choices").get<std::vector<std::string>>();
  param.accepts = document.at("accepts").get<std::string>();
  param.unit = document.at("unit").get<std::string>();
  param.doc = document.at("doc").get<std::string>();
  param.search = value_of(kSearches, document.at("search"));
  param.nullable = document.at("nullable").get<bool>();
  if (document.contains("default")) param.fallback = document.at("default");
  return param;
}

Json inputs_to_json(const std::vector<InputSpec>& inputs) {
  Json list = Json::array();
  for (const InputSpec& input : inputs) {
    Json entry = {{"role", input.role},
                  {"type", input.type},
                  {"doc", input.doc},
                  {"optional", input.optional},
                  {"many", input.many}};
    list.push_back(std::move(entry));
  }
  return list;
}

Json outputs_to_json(const std::vector<OutputSpec>& outputs) {
  Json list = Json::array();
  for (const OutputSpec& output : outputs) {
    Json entry = {{"name", output.name}, {"type", output.type}, {"doc", output.doc}};
    list.push_back(std::move(entry));
  }
  return list;
}

InputSpec input_from_json(const Json& document) {
  return {document.at("role").get<std::string>(), document.at("type").get<std::string>(),
          document.at("doc").get<std::string>(), document.at("optional").get<bool>(), document.at("many").get<bool>()};
}

OutputSpec output_from_json(const Json& document) {
  return {document.at("name").get<std::string>(), document.at("type").get<std::string>(),
          document.at("doc").get<std::string>()};
}

OpSchema parse(const Json& document) {
  OpSchema schema;
  schema.plugin = document.at("plugin").get<std::string>();
  schema.name = document.at("name").get<std::string>();
  schema.version = document.at("version").get<std::int64_t>();
  schema.doc = document.at("doc").get<std::string>();
  schema.example = document.at("example").get<std::string>();
  schema.op_class = value_of(kOpClasses, document.at("class"));
  schema.epsilon = document.at("epsilon").get<double>();
  schema.random = document.at("random").get<bool>();
  schema.fixed_stream = document.at("fixed_stream").get<bool>();
  for (const Json& input : document.at("inputs")) schema.inputs.push_back(input_from_json(input));
  for (const Json& output : document.at("outputs")) schema.outputs.push_back(output_from_json(output));
  for (const Json& param : document.at("params")) schema.params.push_back(param_from_json(param));
  schema.cores = document.at("cores").get<int>();
  schema.memory = document.at("memory").get<std::string>();
  schema.work = document.at("work").get<std::string>();
  schema.bytes = document.at("bytes").get<std::string>();
  schema.device = document.at("device").get<std::string>();
  schema.time_limit = bound_from_json(document.at("time_limit"));
  return schema;
}

}  // namespace

std::string_view param_type_name(ParamType type) {
  return name_of(kParamTypes, type);
}

ParamType param_type_from_name(const std::string& name) {
  return value_of(kParamTypes, name);
}

Json to_json(const OpSchema& schema) {
  Json params = Json::array();
  for (const Param& param : schema.params) params.push_back(param_to_json(param));
  return {{"plugin", schema.plugin},
          {"name", schema.name},
          {"version", schema.version},
          {"doc", schema.doc},
          {"example", schema.example},
          {"class", name_of(kOpClasses, schema.op_class)},
          {"epsilon", schema.epsilon},
          {"random", schema.random},
          {"fixed_stream", schema.fixed_stream},
          {"inputs", inputs_to_json(schema.inputs)},
          {"outputs", outputs_to_json(schema.outputs)},
          {"params", std::move(params)},
          {"cores", schema.cores},
          {"memory", schema.memory},
          {"work", schema.work},
          {"bytes", schema.bytes},
          {"device", schema.device},
          {"time_limit", bound_to_json(schema.time_limit)}};
}

OpSchema schema_from_json(const Json& document) {
  try {
    return parse(document);
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::environment, std::string("a stored schema is damaged: ") + error.what());
  }
}

}  // namespace colonnade
