#include "kernel/lua/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/lua/binding.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/handles.h"
#include "kernel/lua/values.h"

namespace colonnade::host {

namespace {

bool is_reportable(const std::string& type) {
  return type == "scalar" || type == "table" || type == "record";
}

bool is_metric_name(const std::string& name) {
  constexpr const char* kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  return !name.empty() && name.find_first_not_of(kAllowed) == std::string::npos;
}

void add_node(lua_State* L, const std::string& name, const NodeRef& node, std::vector<MetricRef>& metrics) {
  std::vector<const OutputSpec*> outputs;
  for (const OutputSpec& output : node->schema->outputs) {
    if (is_reportable(output.type)) outputs.push_back(&output);
  }
  if (outputs.empty()) {
    raise(L, fmt::format("metric '{}' is {}, which gives {}: there is no scalar, table or record to report", name,
                         described(*node), listed_fields(*node->schema)));
  }
  const auto scalars =
      std::count_if(outputs.begin(), outputs.end(), [](const auto* output) { return output->type == "scalar"; });
  for (const OutputSpec* output : outputs) {
    const bool stands_for_node = outputs.size() == 1 || (scalars == 1 && output->type == "scalar");
    metrics.push_back({stands_for_node ? name : name + "." + output->name, {node, output->name}});
  }
}

}  // namespace

std::vector<MetricRef> metrics_at(lua_State* L, int index, const std::string& what) {
  index = lua_absindex(L, index);
  if (!lua_istable(L, index)) {
    raise(L, fmt::format("{}: a table {{name = node or field, ...}} is wanted; found {}", what, described(L, index)));
  }
  std::vector<MetricRef> metrics;
  for (const std::string& name : string_keys(L, index, what)) {
    if (!is_metric_name(name)) {
      raise(L, fmt::format("{}: '{}' is no name for a metric; allowed: letters, digits and _", what, name));
    }
    push_text(L, name);
    lua_rawget(L, index);
    if (const auto* field = object_at<FieldHandle>(L, -1)) {
      const std::string& type = output_of(field->field).type;
      if (!is_reportable(type) && type != "any") {
        raise(L, fmt::format("{}: '{}' is {}, a {}; allowed: scalars, tables and records", what, name,
                             described(field->field), type));
      }
      metrics.push_back({name, field->field});
    } else if (const auto* node = object_at<NodeHandle>(L, -1)) {
      add_node(L, name, node->node, metrics);
    } else {
      raise(L, fmt::format("{}: '{}' is {}; allowed: a node or a field", what, name, described(L, -1)));
    }
    lua_pop(L, 1);
  }
  return metrics;
}

std::vector<MetricRef> own_metrics(const FieldRef& output, bool whole_node) {
  std::vector<MetricRef> metrics;
  for (const OutputSpec& spec : output.node->schema->outputs) {
    if (is_reportable(spec.type) && (whole_node || spec.name == output.field)) {
      metrics.push_back({spec.name, {output.node, spec.name}});
    }
  }
  return metrics;
}

}  // namespace colonnade::host
