#pragma once

#include <ATen/Functions.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "colonnade/registry.h"
#include "colonnade/run_op.h"
#include "colonnade/tensor/model.h"
#include "colonnade/tensor/selector.h"
#include "colonnade/tokens.h"

// A language model small enough to check by hand, with every kind of site: an embedding that is the head too, norms,
// linears with and without bias, named parts, a convolution, a feed-forward down projection; and symmetries that share
// sites.
namespace colonnade::small {

constexpr std::int64_t vocabulary = 11, width = 6, channels = 8, states = 3, step_rank = 2, taps = 3;
constexpr int layers = 2;

class Small final : public Architecture {
 public:
  std::string type() const override { return "fixture/small"; }

  std::vector<SiteSpec> sites(const Json&) const override {
    std::vector<SiteSpec> all = {site("embedding", SiteKind::embedding, {vocabulary, width}, -1)};
    all.back().roles = {"embedding", "head"};
    for (int layer = 0; layer < layers; ++layer) {
      const std::string prefix = "layers." + std::to_string(layer) + ".";
      const auto add = [&](const char* name, SiteKind kind, std::vector<std::int64_t> shape, bool biased) {
        all.push_back(site(prefix + name, kind, shape, layer));
        const std::size_t at = all.size() - 1;
        if (!biased) return at;
        all[at].bias = prefix + name + ".bias";
        all.push_back(site(all[at].bias, SiteKind::vector, {shape[0]}, layer));
        return at;
      };
      add("norm", SiteKind::vector, {width}, false);
      all[add("in_proj", SiteKind::linear, {2 * channels, width}, true)].parts = {{"x", 0, channels},
                                                                                  {"z", channels, channels}};
      add("conv1d", SiteKind::conv1d, {channels, 1, taps}, true);
      all[add("x_proj", SiteKind::linear, {step_rank + 2 * states, channels}, false)].parts = {
          {"dt", 0, step_rank}, {"B", step_rank, states}, {"C", step_rank + states, states}};
      all[add("out_proj", SiteKind::linear, {width, channels}, true)].feed_forward_down = true;
      add("decay", SiteKind::vector, {channels, states}, false);
    }
    all.push_back(site("norm_f", SiteKind::vector, {width}, -1));
    return all;
  }

  std::vector<Symmetry> symmetries(const Json&) const override {
    std::vector<Symmetry> all;
    Symmetry model{"model", "model", -1, width, 1, {{"embedding", 1, 0}, {"norm_f", 0, 0}}};
    for (int layer = 0; layer < layers; ++layer) {
      const std::string p = "layers." + std::to_string(layer) + ".";
      all.push_back({p + "channels",
                     "channels",
                     layer,
                     channels,
                     1,
                     {{p + "in_proj", 0, 0},
                      {p + "in_proj", 0, channels},
                      {p + "in_proj.bias", 0, 0},
                      {p + "in_proj.bias", 0, channels},
                      {p + "conv1d", 0, 0},
                      {p + "conv1d.bias", 0, 0},
                      {p + "x_proj", 1, 0},
                      {p + "out_proj", 1, 0},
                      {p + "decay", 0, 0}}});
      all.push_back({p + "state",
                     "state",
                     layer,
                     states,
                     1,
                     {{p + "x_proj", 0, step_rank}, {p + "x_proj", 0, step_rank + states}, {p + "decay", 1, 0}}});
      for (const SymmetryMember& member : std::vector<SymmetryMember>{
               {p + "norm", 0, 0}, {p + "in_proj", 1, 0}, {p + "out_proj", 0, 0}, {p + "out_proj.bias", 0, 0}}) {
        model.members.push_back(member);
      }
    }
    all.push_back(model);
    return all;
  }

  Tensor forward(SiteRunner& run, const Json&, const Batch& batch) const override {
    Tensor x = run.embedding("embedding", batch.at("ids"));
    for (int layer = 0; layer < layers; ++layer) {
      const std::string p = "layers." + std::to_string(layer) + ".";
      Tensor projected = run.linear(p + "in_proj", run.rms_norm(p + "norm", x, 1e-5));
      Tensor u = at::silu(run.causal_conv1d(p + "conv1d", projected.narrow(-1, 0, channels)));
      Tensor read = run.linear(p + "x_proj", u);
      Tensor b = read.narrow(-1, step_rank, states), c = read.narrow(-1, step_rank + states, states);
      // [B, L, channels, states] would be a scan's state; here each token stands alone.
      Tensor decay = at::sigmoid(run.parameter(p + "decay"));
      Tensor mixed = at::matmul(b * c, decay.t()) + read.narrow(-1, 0, step_rank).sum(-1, true);
      x = x +
          run.linear(p + "out_proj", u * (1 + at::tanh(mixed)) * at::silu(projected.narrow(-1, channels, channels)));
    }
    return run.linear_transposed_embedding("embedding", run.rms_norm("norm_f", x, 1e-5));
  }

  std::vector<FixedCost> fixed_costs(const Json&, std::int64_t) const override { return {}; }

 private:
  static SiteSpec site(std::string name, SiteKind kind, std::vector<std::int64_t> shape, int layer) {
    SiteSpec spec;
    spec.name = name;
    spec.tensor_name = name + ".weight";
    spec.kind = kind;
    spec.shape = std::move(shape);
    spec.roles = {name.substr(name.rfind('.') + 1)};
    spec.layer = layer;
    return spec;
  }
};

inline void provide() {
  static const bool once = [] {
    Registrar registrar("fixture");
    register_architecture(registrar, std::make_shared<const Small>());
    Registry::instance().commit(std::move(registrar));
    return true;
  }();
  (void)once;
}

// Every tensor random, so that nothing is hidden by zeros and ones.
inline Model make(const std::string& dtype = "f64", std::uint64_t seed = 1) {
  provide();
  Model model(std::make_shared<const Small>(), {{"dtype", dtype}});
  const RandomStream random = RandomStream(seed).at("small");
  for (const SiteSpec& spec : model.sites()) {
    const double scale = spec.kind == SiteKind::vector ? 1 : 1.5 / std::sqrt(static_cast<double>(spec.columns()));
    Tensor values = random_normal(random.at(spec.name), spec.shape, at::kDouble) * scale;
    model.writable(spec.name).sparse = values.to(model.dtype());
  }
  return model;
}

inline Batch batch(std::int64_t rows = 2, std::int64_t length = 7, std::uint64_t seed = 1) {
  Batch result;
  const RandomStream random = RandomStream(seed).at("batch");
  for (const char* name : {"ids", "targets"}) {
    Tensor ids = (random_uniform(random.at(name), {rows, length}, at::kDouble) * vocabulary).floor().to(at::kLong);
    result.tensors[name] = ids;
  }
  return result;
}

inline Tokens text(std::int64_t count, std::uint64_t seed = 1) {
  std::vector<std::uint8_t> ids;
  const RandomStream random = RandomStream(seed).at("text");
  // Predictable to a degree: every token leans on the one before.
  std::uint64_t last = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    last = random.uniform(2 * at) < 0.7 ? (last * 3 + 1) % vocabulary : random.below(2 * at + 1, vocabulary);
    ids.push_back(static_cast<std::uint8_t>(last));
  }
  Tokens tokens;
  tokens.ids = Blob::of(DType::u8, ids);
  tokens.vocabulary = "small";
  tokens.vocabulary_size = vocabulary;
  return tokens;
}

using Inputs = std::vector<std::pair<std::string, Field>>;

inline Value run(const std::string& op, Json params, Inputs inputs, std::uint64_t seed = 0) {
  RunRequest request;
  request.op = op;
  request.params = std::move(params);
  request.inputs = std::move(inputs);
  request.seed = seed;
  return run_op(request);
}

inline Model run_model(const std::string& op, Json params, const Model& model, std::uint64_t seed = 0) {
  return Model::from_field(run(op, std::move(params), {{"model", model.to_field()}}, seed).at("model"));
}

// The message of the error that `act` throws, or "".
template <typename Act>
std::string error_of(Act act) {
  try {
    act();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

inline double largest_difference(const Tensor& a, const Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// max|a − b| / max|b|
inline double relative_error(const Tensor& a, const Tensor& b) {
  return largest_difference(a, b) / b.to(at::kDouble).abs().max().item<double>();
}

// Replaces every floating tensor of the model's adapters by normal numbers times `scale` plus `offset`, and every
// decision by a coin; index tensors stay. For models that may be written.
inline void randomise_adapters(Model& model, std::uint64_t seed, double scale = 0.5, double offset = 0.3) {
  const RandomStream random = RandomStream(seed).at("adapters");
  std::uint64_t number = 0;
  for (const AttachedAdapter& attached : model.adapters()) {
    for (auto& [name, entry] : attached.adapter->tensors()) {
      const RandomStream draws = random.at(number++);
      if (name == "steps" || name == "active") continue;
      if (entry.tensor.scalar_type() == at::kBool) {
        entry.tensor = random_uniform(draws, entry.tensor.sizes(), at::kDouble) < 0.6;
      } else if (entry.tensor.is_floating_point()) {
        entry.tensor = random_normal(draws, entry.tensor.sizes(), at::kDouble)
                           .mul(scale)
                           .add(offset)
                           .to(entry.tensor.scalar_type());
      }
    }
  }
}

}  // namespace colonnade::small
