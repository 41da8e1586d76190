#include "lora.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr const char* type_id = "lora/lora@1";

class Lora final : public Adapter {
 public:
  Lora(LoraOptions options, Tensor a, Tensor b) : options_(options) {
    tensors_["A"] = {std::move(a), -1, 1, true};
    tensors_["B"] = {std::move(b), 0, -1, true};
  }

  std::string type() const override { return type_id; }
  Json configuration() const override {
    return {{"rank", options_.rank},
            {"alpha", options_.alpha},
            {"dropout", options_.dropout},
            {"rank_stabilised", options_.rank_stabilised}};
  }
  std::map<std::string, AdapterTensor>& tensors() override { return tensors_; }
  std::unique_ptr<Adapter> clone() const override { return std::make_unique<Lora>(*this); }
  void bind(const SiteSpec& site) override {
    site_name_ = site.name;
    const std::int64_t rank = options_.rank;
    if (a().sizes() == at::IntArrayRef({rank, site.columns()}) && b().sizes() == at::IntArrayRef({site.rows(), rank}))
      return;
    const auto shape = [](at::IntArrayRef sizes) { return Json(sizes.vec()).dump(); };
    throw Error(ErrorKind::input, "the LoRA adapter of rank " + std::to_string(rank) + " with A " + shape(a().sizes()) +
                                      " and B " + shape(b().sizes()) + " does not fit site '" + site.name + "' " +
                                      shape({site.rows(), site.columns()}));
  }

  Tensor update(const StepInfo&) const override { return at::matmul(b(), a()) * options_.scale(); }

  Tensor branch(const Tensor& x, const StepInfo&) const override {
    return at::linear(at::linear(x, a()), b()) * options_.scale();
  }

  Tensor branch_input(const Tensor& x, const StepInfo& info) const override {
    if (!info.training || options_.dropout == 0) return x;
    const RandomStream draws = info.random.at("lora dropout").at(site_name_);
    Tensor keep = random_uniform(draws, x.sizes(), x.scalar_type()) >= options_.dropout;
    return x * keep / (1 - options_.dropout);
  }

  Json summary() const override { return {{"rank", options_.rank}, {"scale", options_.scale()}}; }

 private:
  const Tensor& a() const { return tensors_.at("A").tensor; }
  const Tensor& b() const { return tensors_.at("B").tensor; }

  LoraOptions options_;
  std::map<std::string, AdapterTensor> tensors_;
  std::string site_name_;
};

const Tensor& stored(const NamedTensors& tensors, const char* name, const SiteSpec& site) {
  const auto found = tensors.find(name);
  if (found != tensors.end()) return found->second;
  throw Error(ErrorKind::input, "the LoRA adapter at site '" + site.name + "' lacks its tensor '" + name + "'");
}

std::unique_ptr<Adapter> load(const Json& configuration, const SiteSpec& site, const NamedTensors& tensors) {
  const LoraOptions options{configuration.at("rank").get<std::int64_t>(), configuration.at("alpha").get<double>(),
                            configuration.at("dropout").get<double>(), configuration.at("rank_stabilised").get<bool>()};
  return std::make_unique<Lora>(options, stored(tensors, "A", site), stored(tensors, "B", site));
}

}  // namespace

double LoraOptions::scale() const {
  const auto r = static_cast<double>(rank);
  return rank_stabilised ? alpha / std::sqrt(r) : alpha / r;
}

std::unique_ptr<Adapter> make_lora(const SiteSpec& site, const LoraOptions& options, at::ScalarType type,
                                   const RandomStream& random) {
  const double bound = 1 / std::sqrt(static_cast<double>(site.columns()));
  Tensor a = (random_uniform(random.at(site.name), {options.rank, site.columns()}, at::kDouble) * 2 - 1) * bound;
  Tensor b = at::zeros({site.rows(), options.rank}, at::TensorOptions().dtype(type));
  return std::make_unique<Lora>(options, a.to(type), std::move(b));
}

AdapterType lora_type() {
  return {type_id, load};
}

}  // namespace colonnade
