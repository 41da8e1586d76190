#include "param_text.h"

#include <cmath>

namespace colonnade::detail {
namespace {

constexpr double kLargestPlainInteger = 1e15;

std::string bounds_text(const Param& param) {
  if (param.min && param.max && !param.min_exclusive && !param.max_exclusive) {
    return " from " + shown_bound(*param.min) + " to " + shown_bound(*param.max);
  }
  std::string text;
  if (param.min) text += (param.min_exclusive ? " above " : " of at least ") + shown_bound(*param.min);
  if (param.min && param.max) text += " and";
  if (param.max) text += (param.max_exclusive ? " below " : " of at most ") + shown_bound(*param.max);
  return text;
}

std::string numeric_text(const Param& param, const std::string& noun) {
  return noun + bounds_text(param) + (param.unit.empty() ? "" : ", in " + param.unit);
}

std::string choices_text(const Param& param) {
  std::string text = "one of ";
  for (const std::string& choice : param.choices) text += (text == "one of " ? "'" : ", '") + choice + "'";
  return text;
}

std::string recipe_text(const Param& param) {
  if (param.accepts.empty()) return "an op that has not been applied yet";
  return "an op that gives '" + param.accepts + "' and has not been applied yet";
}

std::string plain_text(const Param& param) {
  switch (param.type) {
    case ParamType::boolean:
      return "true or false";
    case ParamType::integer:
      return numeric_text(param, "an integer");
    case ParamType::real:
      return numeric_text(param, "a number");
    case ParamType::string:
      return "a string";
    case ParamType::choice:
      return choices_text(param);
    case ParamType::path:
      return "the path of a file or folder";
    case ParamType::sites:
      return "a site selector, such as '*.x_proj' or 'layer:0..3'";
    case ParamType::recipe:
      return recipe_text(param);
    case ParamType::list:
      return "a list, each element " + plain_text(element_param(param, 1));
  }
  return "a value";
}

}  // namespace

std::string kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "nil";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "an integer";
    case Json::value_t::number_float:
      return "a number";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::object:
      return "a table";
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  return "binary data";
}

std::string shown_bound(double number) {
  if (number == std::floor(number) && std::abs(number) < kLargestPlainInteger) {
    return std::to_string(static_cast<std::int64_t>(number));
  }
  return Json(number).dump();
}

std::string allowed_values(const Param& param) {
  return plain_text(param) + (param.nullable ? ", or nil" : "");
}

Param element_param(const Param& list, std::size_t position) {
  Param element = list;
  element.name = list.name + "[" + std::to_string(position) + "]";
  element.type = list.element;
  element.nullable = false;
  return element;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

}  // namespace colonnade::detail

namespace colonnade {

std::string allowed_text(const Param& param) {
  return detail::allowed_values(param);
}

}  // namespace colonnade
