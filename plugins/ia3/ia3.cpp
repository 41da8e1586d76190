#include "ia3.h"

#include <ATen/Functions.h>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr const char* type_id = "ia3/ia3@1";
constexpr const char* scale_name = "l";

class Ia3 final : public Adapter {
 public:
  Ia3(Tensor l, bool on_input) : on_input_(on_input) {
    tensors_[scale_name] = {std::move(l), on_input ? -1 : 0, on_input ? 0 : -1, true};
  }

  std::string type() const override { return type_id; }
  Json configuration() const override { return {{"on_input", on_input_}}; }
  std::map<std::string, AdapterTensor>& tensors() override { return tensors_; }
  std::unique_ptr<Adapter> clone() const override { return std::make_unique<Ia3>(*this); }
  void bind(const SiteSpec& site) override {
    const std::string refusal = ia3_refusal(site);
    if (!refusal.empty()) throw Error(ErrorKind::usage, refusal);
    const std::int64_t wanted = on_input_ ? site.columns() : site.rows();
    if (l().dim() == 1 && l().size(0) == wanted) return;
    throw Error(ErrorKind::input, "the IA3 adapter of " + std::to_string(l().numel()) + " scales does not fit site '" +
                                      site.name + "', which needs " + std::to_string(wanted));
  }

  Tensor scale_input(const StepInfo&) const override { return on_input_ ? l() : Tensor(); }
  Tensor scale_output(const StepInfo&) const override { return on_input_ ? Tensor() : l(); }

 private:
  const Tensor& l() const { return tensors_.at(scale_name).tensor; }

  bool on_input_;
  std::map<std::string, AdapterTensor> tensors_;
};

std::unique_ptr<Adapter> load(const Json& configuration, const SiteSpec& site, const NamedTensors& tensors) {
  const auto found = tensors.find(scale_name);
  if (found == tensors.end())
    throw Error(ErrorKind::input, "the IA3 adapter at site '" + site.name + "' lacks its tensor 'l'");
  return std::make_unique<Ia3>(found->second, configuration.at("on_input").get<bool>());
}

}  // namespace

std::string ia3_refusal(const SiteSpec& site) {
  if (site.kind == SiteKind::embedding)
    return "ia3: site '" + site.name + "' is an embedding, which scales do not act on; narrow `sites`";
  if (site.kind == SiteKind::vector && site.shape.size() != 1) {
    return "ia3: site '" + site.name +
           "' is a parameter of the recurrence, which gives no output to scale; narrow `sites`";
  }
  return "";
}

std::unique_ptr<Adapter> make_ia3(const SiteSpec& site, at::ScalarType type) {
  const bool on_input = site.feed_forward_down;
  return std::make_unique<Ia3>(at::ones({on_input ? site.columns() : site.rows()}, at::TensorOptions().dtype(type)),
                               on_input);
}

AdapterType ia3_type() {
  return {type_id, load};
}

}  // namespace colonnade
