#pragma once

#include <ATen/Functions.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/small_model.h"

// Adapters of every kind that the composition formula knows, a hook, and an architecture with heads.
namespace colonnade::laws {

constexpr std::int64_t update_rank = 2;

// One adapter type for all kinds; its configuration says which. Tensors are random.
//   decide   M: in evaluation a decision by element, in training the sigmoid of logits
//   fade     M: the sigmoid of one logit a row, in evaluation too
//   update   ΔW = B A
//   branch   the same through `branch`
//   output   l_out      input   l_in
class Law final : public Adapter {
 public:
  Law(std::string kind, std::map<std::string, AdapterTensor> tensors)
      : kind_(std::move(kind)), tensors_(std::move(tensors)) {}

  std::string type() const override { return "laws/law@2"; }
  Json configuration() const override { return {{"kind", kind_}}; }
  std::map<std::string, AdapterTensor>& tensors() override { return tensors_; }
  std::unique_ptr<Adapter> clone() const override { return std::make_unique<Law>(*this); }
  void bind(const SiteSpec&) override {}

  Tensor mask(const StepInfo& info) const override {
    if (kind_ == "fade") return at::sigmoid(at("logits")).reshape({-1, 1});
    if (kind_ != "decide") return {};
    return info.training ? at::sigmoid(at("logits")) : at("keep").to(at("logits").scalar_type());
  }
  Tensor hard_mask() const override { return kind_ == "decide" ? at("keep") : Tensor(); }
  Tensor update(const StepInfo&) const override {
    return kind_ == "update" || kind_ == "branch" ? at::matmul(at("B"), at("A")) : Tensor();
  }
  Tensor branch(const Tensor& x, const StepInfo&) const override {
    return kind_ == "branch" ? at::linear(at::linear(x, at("A")), at("B")) : Tensor();
  }
  Tensor scale_output(const StepInfo&) const override { return kind_ == "output" ? at("scale") : Tensor(); }
  Tensor scale_input(const StepInfo&) const override { return kind_ == "input" ? at("scale") : Tensor(); }

 private:
  const Tensor& at(const char* name) const { return tensors_.at(name).tensor; }

  std::string kind_;
  std::map<std::string, AdapterTensor> tensors_;
};

inline const std::vector<std::string>& kinds() {
  static const std::vector<std::string> all = {"decide", "fade", "update", "branch", "output", "input"};
  return all;
}

// What the forward pass of a site of this kind can carry.
inline bool carries(SiteKind site, const std::string& kind) {
  if (site == SiteKind::embedding) return kind != "output" && kind != "input";
  return site != SiteKind::conv1d || kind != "input";
}

inline std::shared_ptr<Adapter> make_law(const std::string& kind, const SiteSpec& site, at::ScalarType type,
                                         std::uint64_t seed) {
  const RandomStream random = RandomStream(seed).at(kind).at(site.name);
  const std::int64_t rows = site.rows(), columns = site.columns();
  std::map<std::string, AdapterTensor> tensors;
  if (kind == "decide") {
    tensors["keep"] = {random_uniform(random.at("keep"), {rows, columns}, at::kDouble) < 0.6, 0, 1, false};
    tensors["logits"] = {random_normal(random.at("logits"), {rows, columns}, type), 0, 1};
  } else if (kind == "fade") {
    tensors["logits"] = {random_normal(random.at("logits"), {rows}, type), 0, -1};
  } else if (kind == "update" || kind == "branch") {
    tensors["A"] = {random_normal(random.at("A"), {update_rank, columns}, type) * 0.5, -1, 1};
    tensors["B"] = {random_normal(random.at("B"), {rows, update_rank}, type) * 0.5, 0, -1};
  } else {
    const bool output = kind == "output";
    tensors["scale"] = {random_normal(random.at("scale"), {output ? rows : columns}, type) * 0.3 + 1, output ? 0 : -1,
                        output ? -1 : 0};
  }
  return std::make_shared<Law>(kind, std::move(tensors));
}

inline void attach(Model& model, const std::string& site, const std::string& kind, std::uint64_t seed = 1) {
  model.attach(site, make_law(kind, model.site(site), model.dtype(), seed));
}

inline std::unique_ptr<Adapter> load_law(const Json& configuration, const SiteSpec& site, const NamedTensors& tensors) {
  const auto kind = configuration.at("kind").get<std::string>();
  auto entries = make_law(kind, site, at::kDouble, 0)->tensors();
  for (auto& [name, entry] : entries) entry.tensor = tensors.at(name);
  return std::make_unique<Law>(kind, std::move(entries));
}

class Counter final : public Hook {
 public:
  explicit Counter(NamedTensors tensors) : tensors_(std::move(tensors)) {}
  std::string type() const override { return "laws/counter@1"; }
  Json configuration() const override { return {{"every", 3}}; }
  NamedTensors& tensors() override { return tensors_; }
  std::unique_ptr<Hook> clone() const override { return std::make_unique<Counter>(*this); }

 private:
  NamedTensors tensors_;
};

// Heads of three values each, normalised head by head, and a square site between variables: permuted by groups, and on
// both axes of one site.
class Heads final : public Architecture {
 public:
  static constexpr std::int64_t width = 5, heads = 4, values = 3, hidden = 6;

  std::string type() const override { return "laws/heads"; }
  std::vector<SiteSpec> sites(const Json&) const override {
    const auto site = [](std::string name, SiteKind kind, std::vector<std::int64_t> shape, std::string bias) {
      SiteSpec spec;
      spec.name = name;
      spec.tensor_name = name + ".weight";
      spec.kind = kind;
      spec.shape = std::move(shape);
      spec.roles = {std::move(name)};
      spec.bias = std::move(bias);
      return spec;
    };
    return {site("embedding", SiteKind::embedding, {small::vocabulary, width}, ""),
            site("value", SiteKind::linear, {heads * values, width}, "value.bias"),
            site("value.bias", SiteKind::vector, {heads * values}, ""),
            site("mix", SiteKind::linear, {width, heads * values}, ""),
            site("up", SiteKind::linear, {hidden, width}, ""),
            site("square", SiteKind::linear, {hidden, hidden}, ""),
            site("head", SiteKind::linear, {small::vocabulary, hidden}, "")};
  }
  std::vector<Symmetry> symmetries(const Json&) const override {
    return {{"heads", "heads", -1, heads, values, {{"value", 0, 0}, {"value.bias", 0, 0}, {"mix", 1, 0}}},
            {"hidden", "hidden", -1, hidden, 1, {{"up", 0, 0}, {"square", 0, 0}, {"square", 1, 0}, {"head", 1, 0}}}};
  }
  Tensor forward(SiteRunner& run, const Json&, const Batch& batch) const override {
    Tensor x = run.embedding("embedding", batch.at("ids"));
    Tensor v = run.linear("value", x);
    if (const Symmetry* wanted = run.wanted("hidden")) run.observe(*wanted, run.linear("up", x));
    Tensor each = v.reshape({v.size(0), v.size(1), heads, values});
    each = each * at::rsqrt(each.square().mean(-1, true) + 1e-5);
    Tensor up = at::tanh(run.linear("up", x + run.linear("mix", each.reshape(v.sizes()))));
    return run.linear("head", up + at::tanh(run.linear("square", up)));
  }
  std::vector<FixedCost> fixed_costs(const Json&, std::int64_t) const override { return {}; }
};

inline void provide() {
  static const bool once = [] {
    small::provide();
    Registrar registrar("laws");
    register_architecture(registrar, std::make_shared<const Heads>());
    register_adapter(registrar, {"laws/law@2", load_law});
    register_hook(registrar, {"laws/counter@1", [](const Json&, const NamedTensors& tensors) -> std::unique_ptr<Hook> {
                                return std::make_unique<Counter>(tensors);
                              }});
    Registry::instance().commit(std::move(registrar));
    return true;
  }();
  (void)once;
}

inline Model make_heads() {
  provide();
  Model model(std::make_shared<const Heads>(), {{"dtype", "f64"}});
  for (const SiteSpec& spec : model.sites()) {
    model.writable(spec.name).sparse = random_normal(RandomStream(5).at(spec.name), spec.shape, at::kDouble);
  }
  return model;
}

// Which of reference, mask and low-rank part a site's weight has.
struct Form {
  bool reference = false, mask = false, low_rank = false;
};
inline const std::vector<Form>& forms() {
  static const std::vector<Form> all = [] {
    std::vector<Form> made;
    for (int bits = 0; bits < 8; ++bits) made.push_back({(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0});
    return made;
  }();
  return all;
}
inline std::string text_of(const Form& form) {
  return std::string("S") + (form.reference ? " + R" : "") + (form.low_rank ? " + U V^T" : "") +
         (form.mask ? ", masked" : "");
}

inline SiteWeight make_weight(const std::vector<std::int64_t>& shape, const Form& form, std::uint64_t seed = 1,
                              at::ScalarType type = at::kDouble, std::int64_t rank = 1) {
  const RandomStream random = RandomStream(seed).at("weight");
  SiteWeight weight;
  weight.sparse = random_normal(random.at("S"), shape, type);
  const std::int64_t columns = weight.sparse.numel() / shape[0];
  if (form.reference) weight.reference = random_normal(random.at("R"), shape, type);
  if (form.low_rank) {
    weight.u = random_normal(random.at("U"), {shape[0], rank}, type);
    weight.v = random_normal(random.at("V"), {columns, rank}, type);
  }
  if (form.mask) apply_mask(weight, random_uniform(random.at("mask"), shape, at::kDouble) < 0.6);
  return weight;
}

// Gives every site the form; its function changes.
inline void take_form(Model& model, const Form& form) {
  std::uint64_t seed = 100;
  for (const SiteSpec& site : model.sites())
    model.set_weight(site.name, make_weight(site.shape, form, ++seed, model.dtype()));
}

// True where S is zero wherever the mask drops.
inline bool masked_zeros_hold(const SiteWeight& weight) {
  if (!weight.has_mask()) return true;
  return !at::logical_and(weight.sparse != 0, at::logical_not(weight.mask)).any().item<bool>();
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || to_blob(a).content_hash() == to_blob(b).content_hash());
}

}  // namespace colonnade::laws
