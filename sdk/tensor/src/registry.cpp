#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <charconv>

#include "colonnade/error.h"
#include "colonnade/hash.h"
#include "colonnade/tensor/model.h"

namespace colonnade {

namespace {

constexpr const char* architecture_kind = "architecture";
constexpr const char* adapter_kind = "adapter";
constexpr const char* hook_kind = "hook";

// "plugin/type@2" -> {"plugin/type", 2}
std::pair<std::string, int> split_format(const std::string& id) {
  const auto at_sign = id.rfind('@');
  if (at_sign == std::string::npos) return {id, 1};
  int format = 0;
  const auto [end, error] = std::from_chars(id.data() + at_sign + 1, id.data() + id.size(), format);
  if (error != std::errc() || end != id.data() + id.size() || format < 1) {
    throw Error(ErrorKind::input, "'" + id + "' is no type id; it ends in @ and a format from 1, as in plugin/type@1");
  }
  return {id.substr(0, at_sign), format};
}

template <typename Type>
void provide_formatted(Registrar& registrar, const char* kind, Type type) {
  const std::string id = split_format(type.id).first;
  registrar.provide(kind, id, std::make_shared<const Type>(std::move(type)));
}

template <typename Type>
const Type& find_formatted(const char* kind, const std::string& stored) {
  const auto [id, format] = split_format(stored);
  const Provided* provided = Registry::instance().find_provided(kind, id);
  if (provided == nullptr) {
    throw Error(ErrorKind::input, std::string("no loaded plugin has the ") + kind + " '" + id + "'" +
                                      did_you_mean(id, Registry::instance().provided_ids(kind)));
  }
  const auto& type = *static_cast<const Type*>(provided->object.get());
  const int known = split_format(type.id).second;
  if (format > known) {
    throw Error(ErrorKind::input,
                std::string("the ") + kind + " '" + stored + "' was written by a newer plugin; this one reads format " +
                    std::to_string(known) + " and older. Update the plugin '" + provided->plugin + "'");
  }
  return type;
}

// Known before any op runs: one thread pool of the size that the key says, deterministic algorithms, no threads between
// ops.
void set_up_torch(int threads) {
  at::set_num_threads(threads);
  at::set_num_interop_threads(1);
  at::globalContext().setDeterministicAlgorithms(true, false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

std::string generator_state() {
  auto state = at::detail::getDefaultCPUGenerator().get_state();
  return hash_bytes({static_cast<const char*>(state.const_data_ptr()), state.nbytes()}).hex();
}

const bool registered = [] {
  register_worker_service({"at::CPUGenerator", set_up_torch, generator_state});
  return true;
}();

}  // namespace

void register_adapter(Registrar& registrar, AdapterType type) {
  provide_formatted(registrar, adapter_kind, std::move(type));
}
void register_hook(Registrar& registrar, HookType type) {
  provide_formatted(registrar, hook_kind, std::move(type));
}

void register_architecture(Registrar& registrar, std::shared_ptr<const Architecture> architecture) {
  const std::string id = architecture->type();
  registrar.provide(architecture_kind, id, std::move(architecture));
}

std::shared_ptr<const Architecture> find_architecture(const std::string& type) {
  const Provided* provided = Registry::instance().find_provided(architecture_kind, type);
  if (provided == nullptr) {
    throw Error(ErrorKind::input, "no loaded plugin has the architecture '" + type + "'" +
                                      did_you_mean(type, Registry::instance().provided_ids(architecture_kind)));
  }
  return std::static_pointer_cast<const Architecture>(provided->object);
}

std::unique_ptr<Adapter> load_adapter(const std::string& type, const Json& configuration, const SiteSpec& site,
                                      const NamedTensors& tensors) {
  auto adapter = find_formatted<AdapterType>(adapter_kind, type).load(configuration, site, tensors);
  adapter->bind(site);
  return adapter;
}

std::unique_ptr<Hook> load_hook(const std::string& type, const Json& configuration, const NamedTensors& tensors) {
  return find_formatted<HookType>(hook_kind, type).load(configuration, tensors);
}

}  // namespace colonnade
