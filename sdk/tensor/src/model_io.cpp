#include <ATen/Functions.h>

#include <cmath>
#include <set>

#include "colonnade/error.h"
#include "colonnade/tensor/empty_weight.h"
#include "colonnade/tensor/model.h"

namespace colonnade {

namespace {

// How a model lies in a field: the document says what there is, tensors carry it.
//   <tensor_name>              S, unless the document names the site as empty
//   <tensor_name>:reference    R          :mask  :U  :V
//   adapters/<i>/<name>        tensors of the i-th adapter
//   hooks/<i>/<name>           tensors of the i-th hook
constexpr const char* model_type = "model";
constexpr int model_format = 2;
constexpr int full_format = 1;  // of a model without empty sites

std::string plugin_of(const std::string& type) {
  return type.substr(0, type.find('/'));
}

std::string text_of(at::IntArrayRef sizes) {
  return Json(sizes.vec()).dump();
}

std::string text_of(const Tensor& tensor) {
  return std::string(dtype_name(dtype_of(tensor.scalar_type()))) + " " + text_of(tensor.sizes());
}

// A sum is cheaper than two passes of tests, and finite only if every term is.
bool surely_finite(const Tensor& tensor) {
  return !tensor.is_floating_point() || tensor.numel() == 0 || std::isfinite(tensor.sum().item<double>());
}

// Hands out a field's tensors and remembers which: what nobody asked for is a mistake of whoever wrote the field.
class FieldReader {
 public:
  explicit FieldReader(const Field& field) : field_(field) {}

  bool has(const std::string& name) const { return field_.tensors.contains(name); }
  Tensor read(const std::string& name) {
    const auto found = field_.tensors.find(name);
    if (found == field_.tensors.end()) throw Error(ErrorKind::input, "the model's tensor '" + name + "' is missing");
    used_.insert(name);
    return to_tensor(found->second);
  }
  // Of a site.
  Tensor read_weight(const std::string& name, at::ScalarType type, const std::vector<std::int64_t>& shape) {
    Tensor tensor = read(name);
    if (tensor.scalar_type() != type || tensor.sizes() != at::IntArrayRef(shape)) {
      throw Error(ErrorKind::input, "the model's tensor '" + name + "' is " + text_of(tensor) + "; its site needs " +
                                        std::string(dtype_name(dtype_of(type))) + " " +
                                        text_of(at::IntArrayRef(shape)));
    }
    if (!surely_finite(tensor)) require_finite(tensor, "the model's tensor '" + name + "'");
    return tensor;
  }
  // Undefined where there is none.
  Tensor read_part(const std::string& name, at::ScalarType type, const std::vector<std::int64_t>& shape) {
    return has(name) ? read_weight(name, type, shape) : Tensor();
  }
  NamedTensors under(const std::string& prefix) {
    NamedTensors result;
    for (auto it = field_.tensors.lower_bound(prefix); it != field_.tensors.end() && it->first.starts_with(prefix);
         ++it) {
      result.emplace(it->first.substr(prefix.size()), read(it->first));
    }
    return result;
  }
  void require_all_used() const {
    for (const auto& [name, blob] : field_.tensors) {
      if (used_.contains(name)) continue;
      throw Error(ErrorKind::input, "the model's tensor '" + name + "' belongs to no site, adapter or hook of it");
    }
  }

 private:
  const Field& field_;
  std::set<std::string> used_;
};

SiteWeight read_weight(FieldReader& reader, const SiteSpec& site, at::ScalarType type, bool empty) {
  const std::string& name = site.tensor_name;
  SiteWeight weight;
  weight.sparse = empty ? empty_weight(site.shape, type) : reader.read_weight(name, type, site.shape);
  weight.reference = reader.read_part(name + ":reference", type, site.shape);
  weight.mask = reader.read_part(name + ":mask", at::kBool, site.shape);
  if (reader.has(name + ":U") != reader.has(name + ":V")) {
    throw Error(ErrorKind::input, "the model's tensor '" + name + "' has one of its factors U and V but not the other");
  }
  if (reader.has(name + ":U")) {
    const Tensor factor = reader.read(name + ":U");
    const std::int64_t rank = factor.dim() == 2 ? factor.size(1) : 0;
    weight.u = reader.read_weight(name + ":U", type, {site.rows(), rank});
    weight.v = reader.read_weight(name + ":V", type, {site.columns(), rank});
  }
  if (weight.has_mask() && at::logical_and(weight.sparse != 0, at::logical_not(weight.mask)).any().item<bool>()) {
    throw Error(ErrorKind::input, "the model's tensor '" + name + "' is not zero where its mask drops it");
  }
  return weight;
}

// An adapter's own errors say where they stood; anything else that its loading code throws does not.
template <typename Load>
auto load_named(const std::string& what, Load load) {
  try {
    return load();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorKind::input, what + " cannot be read: " + error.what());
  }
}

// Infinities may be meant in an adapter, NaN never is.
void refuse_nan(const NamedTensors& tensors, const std::string& what) {
  for (const auto& [name, tensor] : tensors) {
    if (surely_finite(tensor) || !at::isnan(tensor).any().item<bool>()) continue;
    throw Error(ErrorKind::input, "NaN in the tensor '" + name + "' of " + what);
  }
}

void put(Field& field, const std::string& name, const Tensor& tensor) {
  if (tensor.defined()) field.tensors.emplace(name, to_blob(tensor));
}

}  // namespace

Field Model::to_field() const {
  Field field;
  field.type = model_type;
  field.carries.insert(plugin_of(architecture_->type()));
  Json frozen = Json::array(), empty = Json::array();
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const SiteSpec& site = structure_->sites[i];
    const SiteWeight& weight = weights_[i];
    if (is_empty_weight(weight.sparse)) {
      empty.push_back(site.name);
    } else {
      put(field, site.tensor_name, weight.sparse);
    }
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
    for (const auto& [name, entry] : adapter.tensors())
      put(field, "adapters/" + std::to_string(i) + "/" + name, entry.tensor);
    field.carries.insert(plugin_of(adapter.type()));
  }
  Json hooks = Json::array();
  for (std::size_t i = 0; i < hooks_.size(); ++i) {
    hooks.push_back({{"type", hooks_[i]->type()}, {"configuration", hooks_[i]->configuration()}});
    for (const auto& [name, tensor] : hooks_[i]->tensors())
      put(field, "hooks/" + std::to_string(i) + "/" + name, tensor);
    field.carries.insert(plugin_of(hooks_[i]->type()));
  }
  field.document = {{"format", empty.empty() ? full_format : model_format},
                    {"architecture", architecture_->type()},
                    {"configuration", configuration_},
                    {"frozen_sites", frozen},
                    {"adapters", adapters},
                    {"hooks", hooks}};
  if (!empty.empty()) field.document["empty_sites"] = empty;
  return field;
}

Model Model::from_field(const Field& field) {
  if (field.type != model_type)
    throw Error(ErrorKind::input, "expected a model, found a value of type '" + field.type + "'");
  const Json& document = field.document;
  try {
    if (document.at("format").get<int>() > model_format) {
      throw Error(ErrorKind::input, "the model was written by a newer version: format " + document.at("format").dump() +
                                        ", this one reads format " + std::to_string(model_format) + " and older");
    }
    Model model(find_architecture(document.at("architecture").get<std::string>()), document.at("configuration"));
    FieldReader reader(field);
    std::set<std::string> empty;
    for (const Json& name : document.value("empty_sites", Json::array())) {
      empty.insert(model.site(name.get<std::string>()).name);
    }
    for (std::size_t i = 0; i < model.weights_.size(); ++i) {
      const SiteSpec& site = model.structure_->sites[i];
      model.weights_[i] = read_weight(reader, site, model.weight_dtype(), empty.contains(site.name));
    }
    for (const Json& name : document.at("frozen_sites")) model.set_site_trainable(name.get<std::string>(), false);
    for (std::size_t index = 0; const Json& entry : document.at("adapters")) {
      const std::string site = entry.at("site").get<std::string>(), type = entry.at("type").get<std::string>();
      const SiteSpec& spec = model.site(site);
      const NamedTensors tensors = reader.under("adapters/" + std::to_string(index++) + "/");
      const std::string what = "adapter '" + type + "' of site '" + site + "'";
      std::shared_ptr<Adapter> adapter =
          load_named(what, [&] { return load_adapter(type, entry.at("configuration"), spec, tensors); });
      refuse_nan(tensors, what);
      model.adapters_.push_back({site, std::move(adapter), entry.at("trainable").get<bool>()});
    }
    for (std::size_t index = 0; const Json& entry : document.at("hooks")) {
      const std::string type = entry.at("type").get<std::string>();
      const NamedTensors tensors = reader.under("hooks/" + std::to_string(index++) + "/");
      model.hooks_.push_back(
          load_named("hook '" + type + "'", [&] { return load_hook(type, entry.at("configuration"), tensors); }));
    }
    reader.require_all_used();
    model.access_.assign(model.weights_.size(), Access::none);
    return model;
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::input, std::string("the model's document is damaged: ") + error.what());
  }
}

}  // namespace colonnade
