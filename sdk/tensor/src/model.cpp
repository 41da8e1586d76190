#include "colonnade/tensor/model.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"
#include "colonnade/tensor/empty_weight.h"

namespace colonnade {

namespace {

std::vector<std::string> site_names(const std::vector<SiteSpec>& sites) {
  std::vector<std::string> names;
  for (const SiteSpec& site : sites) names.push_back(site.name);
  return names;
}

void own(Tensor& tensor) {
  if (tensor.defined()) tensor = tensor.detach().clone();
}

// "plugin/type@format" is of "plugin/type" and of "plugin/".
bool is_of_type(const std::string& stored, const std::string& wanted) {
  if (!stored.starts_with(wanted)) return false;
  return stored.size() == wanted.size() || wanted.ends_with('/') || stored[wanted.size()] == '@';
}

}  // namespace

Tensor Architecture::loss(SiteRunner& run, const Json& configuration, const Batch& batch) const {
  Tensor logits = forward(run, configuration, batch);
  Tensor targets = batch.at("targets");
  return at::cross_entropy_loss(logits.reshape({-1, logits.size(-1)}), targets.reshape({-1}), {}, at::Reduction::Mean,
                                not_scored);
}

Model::Model(std::shared_ptr<const Architecture> architecture, Json configuration)
    : architecture_(std::move(architecture)), configuration_(std::move(configuration)) {
  auto structure = std::make_shared<Structure>();
  structure->sites = architecture_->sites(configuration_);
  structure->symmetries = architecture_->symmetries(configuration_);
  const auto type = scalar_type(dtype_from_name(configuration_.value("dtype", "f32")));
  const auto options = at::TensorOptions().dtype(type).device(compute_device());
  for (std::size_t i = 0; i < structure->sites.size(); ++i) {
    structure->by_name.emplace(structure->sites[i].name, i);
    weights_.push_back(
        {.reference = {}, .sparse = at::zeros(structure->sites[i].shape, options), .mask = {}, .u = {}, .v = {}});
  }
  trainable_.assign(weights_.size(), true);
  access_.assign(weights_.size(), Access::own);
  structure_ = std::move(structure);
}

// Adapters and hooks are changed through pointers, which a copy must not share.
Model::Model(const Model& other)
    : architecture_(other.architecture_),
      configuration_(other.configuration_),
      structure_(other.structure_),
      weights_(other.weights_),
      trainable_(other.trainable_),
      access_(other.weights_.size(), Access::none),
      adapters_(other.adapters_) {
  for (AttachedAdapter& attached : adapters_) attached.adapter = attached.adapter->clone();
  for (const auto& hook : other.hooks_) {
    hooks_.push_back(hook->clone());
    for (auto& [name, tensor] : hooks_.back()->tensors()) own(tensor);
  }
}

Model& Model::operator=(Model other) noexcept {
  architecture_ = std::move(other.architecture_);
  configuration_ = std::move(other.configuration_);
  structure_ = std::move(other.structure_);
  weights_ = std::move(other.weights_);
  trainable_ = std::move(other.trainable_);
  access_ = std::move(other.access_);
  adapters_ = std::move(other.adapters_);
  hooks_ = std::move(other.hooks_);
  return *this;
}

const SiteSpec& Model::site(const std::string& name) const {
  const auto found = structure_->by_name.find(name);
  if (found != structure_->by_name.end()) return structure_->sites[found->second];
  throw Error(ErrorKind::input,
              "the model has no site '" + name + "'" + did_you_mean(name, site_names(structure_->sites)));
}

const Symmetry& Model::symmetry(const std::string& name) const {
  std::vector<std::string> names;
  for (const Symmetry& symmetry : structure_->symmetries) {
    if (symmetry.name == name) return symmetry;
    names.push_back(symmetry.name);
  }
  throw Error(ErrorKind::input, "the model has no symmetry '" + name + "'" + did_you_mean(name, names));
}

const SiteWeight& Model::weight(const std::string& name) const {
  site(name);
  return weights_[structure_->by_name.at(name)];
}

std::vector<const AttachedAdapter*> Model::adapters_of(const std::string& name) const {
  std::vector<const AttachedAdapter*> result;
  if (adapters_.empty()) return result;
  for (const AttachedAdapter& attached : adapters_) {
    if (attached.site == name) result.push_back(&attached);
  }
  return result;
}

at::ScalarType Model::dtype() const {
  return weight_dtype() == at::kDouble ? at::kDouble : at::kFloat;
}

at::ScalarType Model::weight_dtype() const {
  return weights_.front().sparse.scalar_type();
}

Tensor Model::forward(const Batch& batch, const StepInfo& info, Observer* observer) const {
  SiteRunner run(*this, info, observer);
  return architecture_->forward(run, configuration_, on_compute_device(batch));
}

Tensor Model::loss(const Batch& batch, const StepInfo& info, Observer* observer) const {
  SiteRunner run(*this, info, observer);
  return architecture_->loss(run, configuration_, on_compute_device(batch));
}

Tensor Model::penalty(const StepInfo& info) const {
  Tensor total;
  const auto add = [&](const Tensor& term) {
    if (term.defined()) total = total.defined() ? total + term : term;
  };
  for (const AttachedAdapter& attached : adapters_) add(attached.adapter->penalty(info));
  for (const auto& hook : hooks_) add(hook->penalty(*this, info));
  return total;
}

Model Model::mutable_copy() const {
  return mutable_copy(site_names(structure_->sites));
}

Model Model::mutable_copy(const std::vector<std::string>& sites) const {
  if (at::isReducedFloatingType(weight_dtype())) {
    throw Error(ErrorKind::input, "the model's weights are " + std::string(dtype_name(dtype_of(weight_dtype()))) +
                                      ", in which a model can be read only: to change, tune or train it, load it "
                                      "with dtype = \"f32\"");
  }
  Model copy = *this;
  const std::set<std::string> wanted(sites.begin(), sites.end());
  for (const std::string& name : wanted) {
    site(name);
    const std::size_t index = structure_->by_name.at(name);
    copy.access_[index] = Access::shared;
    // What this model itself may write at any time is no longer the copy's.
    if (access_[index] == Access::own) copy.writable(name);
  }
  for (AttachedAdapter& attached : copy.adapters_) {
    if (!wanted.contains(attached.site)) continue;
    for (auto& [name, entry] : attached.adapter->tensors()) own(entry.tensor);
  }
  return copy;
}

std::size_t Model::writable_index(const std::string& name) const {
  site(name);
  const std::size_t index = structure_->by_name.at(name);
  if (access_[index] != Access::none) return index;
  throw std::logic_error("site '" + name + "' was not made writable by mutable_copy");
}

SiteWeight& Model::writable(const std::string& name) {
  const std::size_t index = writable_index(name);
  SiteWeight& weight = weights_[index];
  if (access_[index] == Access::own) return weight;
  own(weight.sparse);
  own(weight.mask);
  own(weight.u);
  own(weight.v);
  access_[index] = Access::own;
  return weight;
}

void Model::set_weight(const std::string& name, SiteWeight weight) {
  const SiteSpec& spec = site(name);
  if (weight.sparse.sizes() != at::IntArrayRef(spec.shape)) {
    throw Error(ErrorKind::input, "site '" + name + "' has shape " + Json(spec.shape).dump() + ", given " +
                                      Json(weight.sparse.sizes().vec()).dump());
  }
  weights_[writable_index(name)] = std::move(weight);
}

void Model::attach(const std::string& name, std::shared_ptr<Adapter> adapter, bool trainable) {
  writable_index(name);
  adapter->bind(site(name));
  adapters_.push_back({name, std::move(adapter), trainable});
}

void Model::detach(const std::string& name, const std::string& type) {
  writable_index(name);
  std::erase_if(adapters_, [&](const AttachedAdapter& attached) {
    return attached.site == name && is_of_type(attached.adapter->type(), type);
  });
}

void Model::add_hook(std::shared_ptr<Hook> hook) {
  hooks_.push_back(std::move(hook));
}

void Model::remove_hooks(const std::string& type_prefix) {
  std::erase_if(hooks_, [&](const auto& hook) { return is_of_type(hook->type(), type_prefix); });
}

bool Model::site_trainable(const std::string& name) const {
  site(name);
  return trainable_[structure_->by_name.at(name)];
}

void Model::set_site_trainable(const std::string& name, bool trainable) {
  site(name);
  trainable_[structure_->by_name.at(name)] = trainable;
}

void Model::set_sites_trainable(bool trainable) {
  trainable_.assign(weights_.size(), trainable);
}

void Model::set_adapters_trainable(bool trainable) {
  for (AttachedAdapter& attached : adapters_) attached.trainable = trainable;
}

std::vector<Parameter> Model::parameters() {
  std::vector<Parameter> result;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (!trainable_[i]) continue;
    const std::string& name = structure_->sites[i].name;
    if (access_[i] == Access::shared) writable(name);
    SiteWeight& weight = weights_[i];
    const bool matrix = weight.sparse.dim() == 2;
    result.push_back({name + ":S", name, &weight.sparse, 0, matrix ? 1 : -1, weight.mask});
    if (weight.rank() == 0) continue;
    result.push_back({name + ":U", name, &weight.u, 0, -1, {}});
    result.push_back({name + ":V", name, &weight.v, -1, 0, {}});
  }
  std::map<std::string, int> count;
  for (AttachedAdapter& attached : adapters_) {
    const std::string prefix = attached.site + ":adapters." + std::to_string(count[attached.site]++) + ".";
    if (!attached.trainable) continue;
    for (auto& [name, entry] : attached.adapter->tensors()) {
      if (!entry.trainable) continue;
      result.push_back({prefix + name, attached.site, &entry.tensor, entry.row_dim, entry.column_dim, {}, entry.rate});
    }
  }
  return result;
}

Model::Counts Model::counts() const {
  Counts counts;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const SiteWeight& weight = weights_[i];
    if (!is_empty_weight(weight.sparse)) counts.all += weight.sparse.numel();
    if (weight.rank() > 0) counts.all += weight.u.numel() + weight.v.numel();
    // Masks drop elements of S; what a reference holds there stays.
    Tensor dense_part = weight.sparse;
    for (const AttachedAdapter* attached : adapters_of(structure_->sites[i].name)) {
      Tensor hard = attached->adapter->hard_mask();
      if (hard.defined()) dense_part = dense_part * hard.reshape(dense_part.sizes());
    }
    if (weight.has_reference()) dense_part = dense_part + weight.reference;
    counts.nonzero += at::count_nonzero(dense_part).item<std::int64_t>();
    if (weight.rank() > 0) counts.nonzero += weight.u.numel() + weight.v.numel();
  }
  for (const AttachedAdapter& attached : adapters_) {
    const bool decides = attached.adapter->hard_mask().defined();
    for (const auto& [name, entry] : attached.adapter->tensors()) {
      if (!entry.trainable) continue;
      counts.all += entry.tensor.numel();
      if (!decides) counts.nonzero += at::count_nonzero(entry.tensor).item<std::int64_t>();
    }
  }
  for (const Parameter& parameter : const_cast<Model*>(this)->parameters()) {
    counts.trainable +=
        parameter.mask.defined() ? parameter.mask.sum().item<std::int64_t>() : parameter.tensor->numel();
  }
  return counts;
}

}  // namespace colonnade
