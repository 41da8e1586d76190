#include <algorithm>
#include <cmath>
#include <limits>

#include "colonnade/error.h"
#include "colonnade/schema.h"
#include "param_text.h"
#include "selector_grammar.h"

namespace colonnade {
namespace {

using detail::allowed_values;
using detail::element_param;
using detail::kind_of;
using detail::listed;

// Who is being checked: enough to write the message.
struct Subject {
  const OpSchema& schema;
  const std::string& where;
};

std::string opening(const Subject& subject) {
  return (subject.where.empty() ? "" : subject.where + ": ") + subject.schema.name + ": ";
}

Error refuse(const Subject& subject, const Param& param, const Json& value, const std::string& why) {
  return Error(ErrorKind::usage, opening(subject) + param.name + " = " + shown(value) + " " + why +
                                     "; allowed: " + allowed_values(param));
}

Error refuse_kind(const Subject& subject, const Param& param, const Json& value) {
  if (value.is_null()) {
    return Error(ErrorKind::usage, opening(subject) + param.name + " is nil; allowed: " + allowed_values(param));
  }
  return refuse(subject, param, value, "is " + kind_of(value));
}

void require_in_range(const Subject& subject, const Param& param, const Json& value, double number) {
  const bool low = param.min && (param.min_exclusive ? number <= *param.min : number < *param.min);
  const bool high = param.max && (param.max_exclusive ? number >= *param.max : number > *param.max);
  if (low || high) throw refuse(subject, param, value, "is out of range");
}

Json checked_integer(const Subject& subject, const Param& param, const Json& value) {
  constexpr double kTwoTo63 = 0x1p63;
  if (!value.is_number()) throw refuse_kind(subject, param, value);
  std::int64_t number = 0;
  if (value.is_number_float()) {
    const auto real = value.get<double>();
    if (!std::isfinite(real) || real != std::floor(real)) throw refuse(subject, param, value, "is no integer");
    if (real < -kTwoTo63 || real >= kTwoTo63) throw refuse(subject, param, value, "is too large");
    number = static_cast<std::int64_t>(real);
  } else {
    constexpr auto kMaxSigned = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const bool too_large = value.is_number_unsigned() && value.get<std::uint64_t>() > kMaxSigned;
    if (too_large) throw refuse(subject, param, value, "is too large");
    number = value.get<std::int64_t>();
  }
  require_in_range(subject, param, value, static_cast<double>(number));
  return number;
}

// Whether a double holds the integer as it is. Compared as integers where that is defined, since the conversion rounds.
bool exact_as_double(const Json& integer) {
  constexpr double kTwoTo63 = 0x1p63;
  if (integer.is_number_unsigned()) {
    const auto number = integer.get<std::uint64_t>();
    const auto real = static_cast<double>(number);
    return real < 2 * kTwoTo63 && static_cast<std::uint64_t>(real) == number;
  }
  const auto number = integer.get<std::int64_t>();
  const auto real = static_cast<double>(number);
  return real < kTwoTo63 && static_cast<std::int64_t>(real) == number;
}

Json checked_real(const Subject& subject, const Param& param, const Json& value) {
  if (!value.is_number()) throw refuse_kind(subject, param, value);
  const auto number = value.get<double>();
  if (std::isnan(number)) throw refuse(subject, param, value, "is not a number");
  const bool bounded = param.min || param.max;
  if (std::isinf(number) && bounded) throw refuse(subject, param, value, "is out of range");
  if (!value.is_number_float() && !exact_as_double(value)) {
    throw refuse(subject, param, value, "has more digits than a real number holds");
  }
  require_in_range(subject, param, value, number);
  return number;
}

Json checked_choice(const Subject& subject, const Param& param, const Json& value) {
  if (!value.is_string()) throw refuse_kind(subject, param, value);
  const auto& chosen = value.get_ref<const std::string&>();
  if (std::find(param.choices.begin(), param.choices.end(), chosen) != param.choices.end()) return value;
  const std::string meant = did_you_mean(chosen, param.choices);
  throw Error(ErrorKind::usage, opening(subject) + param.name + " = " + shown(value) + " is unknown" +
                                    (meant.empty() ? ";" : meant) + " allowed: " + allowed_values(param));
}

Json checked_text(const Subject& subject, const Param& param, const Json& value, bool may_be_empty) {
  if (!value.is_string()) throw refuse_kind(subject, param, value);
  if (!may_be_empty && value.get_ref<const std::string&>().empty()) throw refuse(subject, param, value, "is empty");
  return value;
}

Json checked_sites(const Subject& subject, const Param& param, const Json& value) {
  Json text = checked_text(subject, param, value, false);
  const std::string problem = detail::selector_problem(text.get<std::string>());
  if (!problem.empty()) throw refuse(subject, param, value, problem);
  return text;
}

Json checked_recipe(const Subject& subject, const Param& param, const Json& value) {
  if (!value.is_object()) throw refuse_kind(subject, param, value);
  const auto op = value.find("op");
  const bool named = op != value.end() && op->is_string() && !op->get_ref<const std::string&>().empty();
  if (!named) throw refuse(subject, param, value, "names no op");
  Json params = value.value("params", Json::object());
  if (params.is_array() && params.empty()) params = Json::object();  // an empty Lua table may arrive as either
  if (!params.is_object()) throw refuse(subject, param, value, "has params that are no table");
  for (const auto& [key, entry] : value.items()) {
    if (key != "op" && key != "params") throw refuse(subject, param, value, "has an unknown entry '" + key + "'");
  }
  Json result = Json::object();
  result["op"] = *op;
  result["params"] = std::move(params);
  return result;
}

Json checked(const Subject& subject, const Param& param, const Json& value);

Json checked_list(const Subject& subject, const Param& param, const Json& value) {
  const bool empty_table = value.is_object() && value.empty();  // an empty Lua table may arrive as either
  if (!value.is_array() && !empty_table) throw refuse_kind(subject, param, value);
  Json result = Json::array();
  for (const Json& element : value) {
    result.push_back(checked(subject, element_param(param, result.size() + 1), element));
  }
  return result;
}

Json checked(const Subject& subject, const Param& param, const Json& value) {
  if (value.is_null() && param.nullable) return value;
  switch (param.type) {
    case ParamType::boolean:
      if (!value.is_boolean()) throw refuse_kind(subject, param, value);
      return value;
    case ParamType::integer:
      return checked_integer(subject, param, value);
    case ParamType::real:
      return checked_real(subject, param, value);
    case ParamType::string:
      return checked_text(subject, param, value, true);
    case ParamType::choice:
      return checked_choice(subject, param, value);
    case ParamType::path:
      return checked_text(subject, param, value, false);
    case ParamType::sites:
      return checked_sites(subject, param, value);
    case ParamType::recipe:
      return checked_recipe(subject, param, value);
    case ParamType::list:
      return checked_list(subject, param, value);
  }
  throw refuse_kind(subject, param, value);
}

}  // namespace

Json check_param(const OpSchema& schema, const Param& param, const Json& value, const std::string& where) {
  return checked({schema, where}, param, value);
}

Json complete_params(const OpSchema& schema, const Json& params, const std::string& where) {
  const Subject subject{schema, where};
  const bool empty = params.is_null() || params.empty();
  if (!empty && !params.is_object()) {
    throw Error(ErrorKind::usage,
                opening(subject) + "the parameters are " + kind_of(params) + "; allowed: a table of names and values");
  }
  std::vector<std::string> names;
  for (const Param& param : schema.params) names.push_back(param.name);
  std::sort(names.begin(), names.end());
  for (const auto& [name, value] : params.items()) {
    if (schema.find_param(name) != nullptr) continue;
    const std::string meant = did_you_mean(name, names);
    throw Error(ErrorKind::usage, (where.empty() ? "" : where + ": ") + "unknown parameter '" + name + "' of " +
                                      schema.name + (meant.empty() ? "." : meant) + " It has: " + listed(names));
  }
  Json complete = Json::object();
  for (const Param& param : schema.params) {
    const auto given = empty ? params.end() : params.find(param.name);
    if (given != params.end()) {
      complete[param.name] = checked(subject, param, *given);
    } else if (param.fallback) {
      complete[param.name] = checked(subject, param, *param.fallback);
    } else {
      throw Error(ErrorKind::usage,
                  opening(subject) + "parameter '" + param.name + "' is missing; needed: " + allowed_values(param));
    }
  }
  return complete;
}

}  // namespace colonnade
