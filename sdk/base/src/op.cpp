#include "colonnade/op.h"

#include "colonnade/param_names.h"
#include "colonnade/text.h"
#include "param_text.h"

namespace colonnade {

Recipe Recipe::from_json(const Json& document) {
  const auto refuse = [&document](const std::string& what) {
    return Error(ErrorKind::usage, "not a recipe: " + shown(document) + " " + what +
                                       "; allowed: {\"op\": \"plugin/op\", \"params\": {...}}");
  };
  if (!document.is_object()) throw refuse("is no object");
  const auto op = document.find("op");
  if (op == document.end() || !op->is_string()) throw refuse("names no op");
  Recipe recipe;
  recipe.op = op->get<std::string>();
  const auto params = document.find("params");
  if (params == document.end()) return recipe;
  const bool empty_list = params->is_array() && params->empty();
  if (!params->is_object() && !empty_list) throw refuse("has params that are no object");
  if (!empty_list) recipe.params = *params;
  return recipe;
}

namespace detail {
namespace {

std::string type_text(ParamType type, bool list) {
  return (list ? "a list of " : "") + std::string(param_type_name(type));
}

// An integer is read as a real number without loss; all that is written as text is read as text.
bool reads(ParamType declared, ParamType read) {
  if (declared == read) return true;
  if (read == ParamType::real) return declared == ParamType::integer;
  const bool is_text = declared == ParamType::choice || declared == ParamType::path || declared == ParamType::sites;
  return read == ParamType::string && is_text;
}

}  // namespace

const Json& read_param(const OpSchema& schema, const Json& params, const std::string& name, const ReadAs& read) {
  const Param* param = schema.find_param(name);
  if (param == nullptr) {
    std::vector<std::string> names;
    for (const Param& known : schema.params) names.push_back(known.name);
    const std::string meant = did_you_mean(name, names);
    throw Error(ErrorKind::op, "it reads the parameter '" + name + "', which it does not declare" +
                                   (meant.empty() ? "; declared: " + listed(names) : meant));
  }
  const bool is_list = param->type == ParamType::list;
  const ParamType declared = is_list ? param->element : param->type;
  if (read.type && (is_list != read.list || !reads(declared, *read.type))) {
    throw Error(ErrorKind::op, "parameter '" + name + "' is declared " + type_text(declared, is_list) + ", read as " +
                                   type_text(*read.type, read.list));
  }
  const Json& value = params.at(name);
  if (read.type && value.is_null()) {
    throw Error(ErrorKind::op, "it reads the parameter '" + name + "', which was left out; has_param asks about that");
  }
  return value;
}

void refuse_narrow(const std::string& name, std::int64_t value) {
  throw Error(ErrorKind::op, "parameter '" + name + "' is " + std::to_string(value) +
                                 ", more or less than the integer that it is read as can hold; read it as std::int64_t "
                                 "or declare a range");
}

}  // namespace detail

}  // namespace colonnade
