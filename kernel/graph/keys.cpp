#include "kernel/graph/keys.h"

#include <fmt/format.h>

#include <fstream>

#include "colonnade/encode.h"
#include "colonnade/error.h"

namespace colonnade::host {

namespace {

// Puts contents in place of paths and collects the plugins of recipes, however deep they lie in one another.
class ParamRewriter {
 public:
  ParamRewriter(const KeySources& sources, std::set<std::string>& plugins) : sources_(sources), plugins_(plugins) {}

  Json params(const OpSchema& schema, const Json& given) {
    Json result = Json::object();
    for (const auto& [name, value] : given.items()) {
      const Param* param = schema.find_param(name);
      result[name] = param ? rewrite(*param, param->type, value) : value;
    }
    return result;
  }

 private:
  Json rewrite(const Param& param, ParamType type, const Json& value) {
    if (value.is_null()) return value;
    if (type == ParamType::path) return sources_.path_content(value.get<std::string>()).hex();
    if (type == ParamType::recipe) return recipe(value);
    if (type != ParamType::list) return value;
    Json items = Json::array();
    for (const Json& item : value) items.push_back(rewrite(param, param.element, item));
    return items;
  }

  Json recipe(const Json& value) {
    const std::string op = value.at("op").get<std::string>();
    const OpSchema* schema = sources_.schema(op);
    if (!schema) throw Error(ErrorKind::usage, fmt::format("no plugin offers the op '{}' that a recipe names", op));
    plugins_.insert(schema->plugin);
    Json result = value;
    result["version"] = schema->version;
    result["params"] = params(*schema, value.value("params", Json::object()));
    return result;
  }

  const KeySources& sources_;
  std::set<std::string>& plugins_;
};

// {"role": .., "content": ..} entries by role, several of one role numbered, so that a difference has a name.
Json inputs_by_role(const Json& inputs) {
  std::map<std::string, int> seen;
  Json result = Json::object();
  for (const Json& input : inputs) {
    const std::string role = input.at("role").get<std::string>();
    result[numbered_role(role, ++seen[role])] = input.at("content");
  }
  return result;
}

bool is_input_list(const Json& document) {
  if (!document.is_array() || document.empty()) return false;
  for (const Json& item : document) {
    if (!item.is_object() || !item.contains("role") || !item.contains("content")) return false;
  }
  return true;
}

bool same(const Json& a, const Json& b) {
  return encode(a) == encode(b);
}  // 1 and 1.0 differ, as they do in keys

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

void compare(const std::string& part, const Json& before, const Json& after, std::vector<KeyDifference>& out) {
  if (same(before, after)) return;
  if ((is_input_list(before) || before.empty()) && (is_input_list(after) || after.empty()) && before.is_array() &&
      after.is_array()) {
    compare(part, inputs_by_role(before), inputs_by_role(after), out);
  } else if (before.is_object() && after.is_object()) {
    std::set<std::string> names;
    for (const auto& item : before.items()) names.insert(item.key());
    for (const auto& item : after.items()) names.insert(item.key());
    for (const std::string& name : names) {
      compare(join(part, name), before.value(name, Json()), after.value(name, Json()), out);
    }
  } else if (before.is_array() && after.is_array() && before.size() == after.size()) {
    for (std::size_t i = 0; i < before.size(); ++i) compare(join(part, std::to_string(i)), before[i], after[i], out);
  } else {
    out.push_back({part, before, after});
  }
}

}  // namespace

std::string numbered_role(const std::string& role, int occurrence) {
  return occurrence == 1 ? role : fmt::format("{}#{}", role, occurrence);
}

std::string cpu_model() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpuinfo, line)) {
    if (line.rfind("model name", 0) != 0) continue;
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return "unknown processor";
}

NumericEnvironment numeric_environment(const std::string& device, int threads, const std::string& simd) {
  NumericEnvironment environment;
  environment.device = device;
  environment.threads = threads;
  environment.simd = simd;
  auto& variables = environment.variables;
  for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}) {
    variables[name] = std::to_string(threads);
  }
  variables["OMP_DYNAMIC"] = "FALSE";
  variables["MKL_DYNAMIC"] = "FALSE";
  variables["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8";
  if (simd == "native") {
    // ATEN_CPU_CAPABILITY stays unset: every value it takes lowers what the processor offers.
    environment.cpu_model = host::cpu_model();
    variables["MKL_CBWR"] = "AUTO";
    variables["ONEDNN_MAX_CPU_ISA"] = "ALL";
    variables["COLONNADE_SIMD"] = "native";
    return environment;
  }
  if (simd != "portable") {
    throw Error(ErrorKind::usage, fmt::format("simd = '{}' is unknown; allowed: 'portable', 'native'{}", simd,
                                              did_you_mean(simd, {"portable", "native"})));
  }
  variables["ATEN_CPU_CAPABILITY"] = "avx2";
  variables["MKL_CBWR"] = "AVX2";
  variables["ONEDNN_MAX_CPU_ISA"] = "AVX2";
  variables["COLONNADE_SIMD"] = "portable";
  return environment;
}

Json to_json(const NumericEnvironment& environment) {
  Json document = {{"threads", environment.threads}, {"simd", environment.simd}, {"variables", environment.variables}};
  if (!environment.cpu_model.empty()) document["cpu_model"] = environment.cpu_model;
  return document;
}

NodeKey make_key(const Node& node, const std::vector<KeyInput>& inputs, const NumericEnvironment& environment,
                 const KeySources& sources) {
  if (node.seed && node.seed->symbolic) {
    throw std::logic_error(fmt::format("{} has no key before its seed is bound", node.short_name()));
  }
  NodeKey result;
  result.plugins.insert(node.schema->plugin);
  Json& record = result.record;
  record["op"] = node.schema->id();
  record["version"] = node.schema->version;
  record["params"] = key_params(*node.schema, node.params, sources, result.plugins);
  record["inputs"] = Json::array();
  for (const KeyInput& input : inputs) {
    record["inputs"].push_back({{"role", input.role}, {"content", input.content.hex()}});
    result.plugins.insert(input.carries.begin(), input.carries.end());
  }
  const std::string device = device_of(node, environment);
  record["code"] = Json::object();
  for (const std::string& plugin : result.plugins) record["code"].update(sources.code(plugin, device));
  record["device"] = device;
  if (device == "cuda") record["card"] = sources.card;
  record["environment"] = to_json(environment);
  if (node.seed) {
    record["seed"] = node.seed->value;
    record["stream"] = stream_of(node);
  }
  if (node.schema->op_class == OpClass::measured) record["machine"] = sources.machine;
  result.key = hash_bytes(encode(record));
  return result;
}

Json key_params(const OpSchema& schema, const Json& params, const KeySources& sources, std::set<std::string>& plugins) {
  return ParamRewriter(sources, plugins).params(schema, params);
}

std::string device_of(const Node& node, const NumericEnvironment& environment) {
  if (!node.device.empty()) return node.device;
  return node.schema->device == "any" ? environment.device : node.schema->device;
}

std::uint64_t stream_of(const Node& node) {
  if (node.stream) return *node.stream;
  return node.schema->fixed_stream ? 0 : node.occurrence;
}

std::vector<KeyDifference> compare_keys(const Json& before, const Json& after) {
  std::vector<KeyDifference> differences;
  compare("", before, after, differences);
  return differences;
}

}  // namespace colonnade::host
