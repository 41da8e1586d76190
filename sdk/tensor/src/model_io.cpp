#include <ATen/Functions.h>

#include "colonnade/error.h"
#include "colonnade/tensor/model.h"

namespace colonnade {

namespace {

// How a model lies in a field: the document says what there is, tensors carry it.
//   <tensor_name>              S
//   <tensor_name>:reference    R          :mask  :U  :V
//   adapters/<i>/<name>        tensors of the i-th adapter
//   hooks/<i>/<name>           tensors of the i-th hook
constexpr const char* model_type = "model";
constexpr int model_format = 1;

std::string plugin_of(const std::string& type) { return type.substr(0, type.find('/')); }

class FieldReader {
 public:
  explicit FieldReader(const Field& field) : field_(field) {}

  bool has(const std::string& name) const { return field_.tensors.contains(name); }
  Tensor read(const std::string& name) const {
    const auto found = field_.tensors.find(name);
    if (found == field_.tensors.end()) throw Error(ErrorKind::input, "the model's tensor '" + name + "' is missing");
    return to_tensor(found->second);
  }
  Tensor read_if(const std::string& name) const { return has(name) ? read(name) : Tensor(); }
  NamedTensors under(const std::string& prefix) const {
    NamedTensors result;
    for (auto it = field_.tensors.lower_bound(prefix); it != field_.tensors.end() && it->first.starts_with(prefix); ++it) {
      result.emplace(it->first.substr(prefix.size()), to_tensor(it->second));
    }
    return result;
  }

 private:
  const Field& field_;
};

void put(Field& field, const std::string& name, const Tensor& tensor) {
  if (tensor.defined()) field.tensors.emplace(name, to_blob(tensor));
}

}  // namespace

Field Model::to_field() const {
  Field field;
  field.type = model_type;
  field.carries.insert(plugin_of(architecture_->type()));
  Json frozen = Json::array();
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const SiteSpec& site = structure_->sites[i];
    const SiteWeight& weight = weights_[i];
    put(field, site.tensor_name, weight.sparse);
    put(field, site.tensor_name + ":reference", weight.reference);
    put(field, site.tensor_name + ":mask", weight.mask);
    put(field, site.tensor_name + ":U", weight.u);
    put(field, site.tensor_name + ":V", weight.v);
    if (!trainable_[i]) frozen.push_back(site.name);
  }
  Json adapters = Json::array();
  for (std::size_t i = 0; i < adapters_.size(); ++i) {
    const AttachedAdapter& attached = adapters_[i];
    const Adapter& adapter = *attached.adapter;
    adapters.push_back({{"site", attached.site},
                        {"type", adapter.type()},
                        {"configuration", adapter.configuration()},
                        {"trainable", attached.trainable}});
    for (const auto& [name, entry] : adapter.tensors()) put(field, "adapters/" + std::to_string(i) + "/" + name, entry.tensor);
    field.carries.insert(plugin_of(adapter.type()));
  }
  Json hooks = Json::array();
  for (std::size_t i = 0; i < hooks_.size(); ++i) {
    hooks.push_back({{"type", hooks_[i]->type()}, {"configuration", hooks_[i]->configuration()}});
    for (const auto& [name, tensor] : hooks_[i]->tensors()) put(field, "hooks/" + std::to_string(i) + "/" + name, tensor);
    field.carries.insert(plugin_of(hooks_[i]->type()));
  }
  field.document = {{"format", model_format},   {"architecture", architecture_->type()}, {"configuration", configuration_},
                    {"frozen_sites", frozen},   {"adapters", adapters},                  {"hooks", hooks}};
  return field;
}

Model Model::from_field(const Field& field) {
  if (field.type != model_type) throw Error(ErrorKind::input, "expected a model, found a value of type '" + field.type + "'");
  const Json& document = field.document;
  if (document.value("format", 0) > model_format) {
    throw Error(ErrorKind::input, "the model was written by a newer version (format " + document.at("format").dump() + ")");
  }
  Model model(find_architecture(document.at("architecture").get<std::string>()), document.at("configuration"));
  const FieldReader reader(field);
  for (std::size_t i = 0; i < model.weights_.size(); ++i) {
    const SiteSpec& site = model.structure_->sites[i];
    SiteWeight weight;
    weight.sparse = reader.read(site.tensor_name);
    weight.reference = reader.read_if(site.tensor_name + ":reference");
    weight.mask = reader.read_if(site.tensor_name + ":mask");
    weight.u = reader.read_if(site.tensor_name + ":U");
    weight.v = reader.read_if(site.tensor_name + ":V");
    model.set_weight(site.name, std::move(weight));
  }
  for (const Json& name : document.at("frozen_sites")) model.set_site_trainable(name.get<std::string>(), false);
  std::size_t index = 0;
  for (const Json& entry : document.at("adapters")) {
    const std::string& site = entry.at("site").get_ref<const std::string&>();
    std::shared_ptr<Adapter> adapter =
        load_adapter(entry.at("type").get<std::string>(), entry.at("configuration"), model.site(site),
                     reader.under("adapters/" + std::to_string(index++) + "/"));
    model.adapters_.push_back({site, std::move(adapter), entry.at("trainable").get<bool>()});
  }
  index = 0;
  for (const Json& entry : document.at("hooks")) {
    model.hooks_.push_back(load_hook(entry.at("type").get<std::string>(), entry.at("configuration"),
                                     reader.under("hooks/" + std::to_string(index++) + "/")));
  }
  model.writable_.assign(model.weights_.size(), false);
  return model;
}

}  // namespace colonnade
