#include "colonnade/schema.h"

#include <utility>

namespace colonnade {
namespace {

Param make(std::string name, ParamType type, std::string doc) {
  Param param;
  param.name = std::move(name);
  param.type = type;
  param.doc = std::move(doc);
  return param;
}

}  // namespace

Param& Param::fall_back(Json value) {
  fallback = std::move(value);
  return *this;
}

Param& Param::range(std::optional<double> low, std::optional<double> high) {
  min = low;
  max = high;
  min_exclusive = false;
  max_exclusive = false;
  return *this;
}

Param& Param::above(double low) {
  min = low;
  min_exclusive = true;
  return *this;
}

Param& Param::below(double high) {
  max = high;
  max_exclusive = true;
  return *this;
}

Param& Param::in(std::string unit_name) {
  unit = std::move(unit_name);
  return *this;
}

Param& Param::searched(Search how) {
  search = how;
  return *this;
}

Param& Param::optional() {
  nullable = true;
  fallback = Json(nullptr);
  return *this;
}

Param boolean(std::string name, std::string doc) {
  return make(std::move(name), ParamType::boolean, std::move(doc));
}
Param integer(std::string name, std::string doc) {
  return make(std::move(name), ParamType::integer, std::move(doc));
}
Param real(std::string name, std::string doc) {
  return make(std::move(name), ParamType::real, std::move(doc));
}
Param text(std::string name, std::string doc) {
  return make(std::move(name), ParamType::string, std::move(doc));
}
Param path(std::string name, std::string doc) {
  return make(std::move(name), ParamType::path, std::move(doc));
}
Param sites(std::string name, std::string doc) {
  return make(std::move(name), ParamType::sites, std::move(doc));
}

Param choice(std::string name, std::vector<std::string> choices, std::string doc) {
  Param param = make(std::move(name), ParamType::choice, std::move(doc));
  param.choices = std::move(choices);
  return param;
}

Param list(std::string name, ParamType element, std::string doc) {
  Param param = make(std::move(name), ParamType::list, std::move(doc));
  param.element = element;
  return param;
}

Param recipe(std::string name, std::string accepts, std::string doc) {
  Param param = make(std::move(name), ParamType::recipe, std::move(doc));
  param.accepts = std::move(accepts);
  return param;
}

const Param* OpSchema::find_param(const std::string& param_name) const {
  for (const Param& param : params) {
    if (param.name == param_name) return &param;
  }
  return nullptr;
}

}  // namespace colonnade
