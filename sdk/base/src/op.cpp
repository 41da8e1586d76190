#include "colonnade/op.h"

#include "colonnade/text.h"

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

}  // namespace colonnade
