#include "tests/kernel/lua/fake_catalogue.h"

#include <algorithm>

#include "colonnade/error.h"

namespace colonnade::host {

namespace {

OpSchema op(const std::string& plugin, const std::string& name, std::vector<InputSpec> inputs,
            std::vector<OutputSpec> outputs, std::vector<Param> params) {
  OpSchema schema;
  schema.plugin = plugin;
  schema.name = name;
  schema.doc = "An op of the tests.";
  schema.inputs = std::move(inputs);
  schema.outputs = std::move(outputs);
  schema.params = std::move(params);
  return schema;
}

OpSchema drawing(OpSchema schema) {
  schema.random = true;
  return schema;
}

InputSpec input(const std::string& role, const std::string& type) {
  return {role, type, "an input", false, false};
}

OutputSpec output(const std::string& name, const std::string& type) {
  return {name, type, "an output"};
}

std::vector<OpSchema> make_ops() {
  const InputSpec model = input("model", "model");
  const OutputSpec changed = output("model", "model");
  std::vector<OpSchema> ops = {
      op("text", "text", {}, {output("train", "tokens"), output("valid", "tokens"), output("test", "tokens")},
         {path("path", "a folder"), choice("vocabulary", {"bytes", "words"}, "tokens").fall_back("bytes")}),
      drawing(op("mamba", "mamba", {}, {changed},
                 {integer("d_model", "width").range(8, 4096).fall_back(64),
                  integer("layers", "depth").range(1, 100).fall_back(2)})),
      drawing(op("train", "train", {model, input("data", "tokens")}, {changed, output("curve", "table")},
                 {integer("steps", "steps").range(1, std::nullopt), real("lr", "step size").above(0).fall_back(0.001),
                  list("betas", ParamType::real, "decay").range(0, 1).fall_back(Json::array({0.9, 0.95}))})),
      op("metrics", "perplexity", {model, input("data", "tokens")}, {output("perplexity", "scalar")}, {}),
      op("metrics", "size", {model}, {output("nominal", "scalar"), output("stored", "scalar")}, {}),
      op("lora", "lora", {model}, {changed},
         {integer("rank", "rank").range(1, 256).fall_back(8), sites("sites", "where").fall_back("*")}),
      op("ia3", "ia3", {model}, {changed}, {}),
      op("peft", "peft", {model}, {changed},
         {recipe("strong", "model", "for important sites"), recipe("light", "model", "for the others").optional()}),
      op("arithmetic", "number", {}, {output("value", "scalar")}, {real("number", "it")}),
      op("arithmetic", "pair", {model}, {changed, output("size", "scalar")}, {}),
      op("arithmetic", "probe", {input("of", "any")}, {output("facts", "record")}, {}),
      op("arithmetic", "statistics", {model},
         {output("means", "tensor"), output("deviations", "tensor"), output("rows", "table")}, {}),
      op("thin", "thin", {model}, {changed}, {real("rate", "share to drop").range(0, 1).fall_back(0.5)}),
      op("notes", "note", {}, {output("note", "table")},
         {list("columns", ParamType::string, "names"),
          list("cells", ParamType::string, "row by row").fall_back(Json::array())}),
      op("first", "shrink", {model}, {changed}, {}),
      op("second", "shrink", {model}, {changed}, {}),
  };
  InputSpec values = input("values", "scalar");
  values.many = true;
  ops.push_back(op("arithmetic", "mean", {values}, {output("value", "scalar")}, {}));
  std::sort(ops.begin(), ops.end(), [](const OpSchema& a, const OpSchema& b) { return a.id() < b.id(); });
  return ops;
}

class FakeCatalogue final : public Catalogue {
 public:
  FakeCatalogue() : ops_(make_ops()) {
    for (const OpSchema& schema : ops_) check_schema(schema);
    PluginInfo broken;
    broken.name = "broken";
    broken.disabled = "it was built for another SDK";
    plugins_.push_back(broken);
  }

  const std::vector<PluginInfo>& plugins() const override { return plugins_; }
  const PluginInfo* find_plugin(const std::string& name) const override {
    return name == plugins_.front().name ? &plugins_.front() : nullptr;
  }
  std::vector<const OpSchema*> ops() const override {
    std::vector<const OpSchema*> all;
    for (const OpSchema& schema : ops_) all.push_back(&schema);
    return all;
  }
  const OpSchema* find_op(const std::string& id) const override {
    for (const OpSchema& schema : ops_) {
      if (schema.id() == id) return &schema;
    }
    return nullptr;
  }
  std::vector<const OpSchema*> find_short(const std::string& name) const override {
    std::vector<const OpSchema*> found;
    for (const OpSchema& schema : ops_) {
      if (schema.name == name) found.push_back(&schema);
    }
    return found;
  }
  const OpSchema& resolve_op(const std::string& name, const std::string& where) const override {
    const auto found = find_short(name);
    if (found.size() == 1) return *found.front();
    if (const OpSchema* schema = find_op(name)) return *schema;
    throw Error(ErrorKind::usage, where + ": there is no op '" + name + "'");
  }
  std::vector<const PluginInfo*> closure(const std::set<std::string>&, const std::string&) const override {
    return {};
  }
  Json code_of(const std::set<std::string>&, const std::string&) const override { return Json::object(); }

 private:
  std::vector<OpSchema> ops_;
  std::vector<PluginInfo> plugins_;
};

}  // namespace

std::unique_ptr<Catalogue> make_fake_catalogue() {
  return std::make_unique<FakeCatalogue>();
}

}  // namespace colonnade::host
