// What a Mamba model is made of: its sites, the symmetries among them, and what the work between them costs.
#include "architecture.h"

namespace colonnade::mamba {
namespace {

/// Declares the sites of one layer.
class LayerSites {
 public:
  LayerSites(std::int64_t layer, std::vector<SiteSpec>& sites) : layer_(layer), sites_(sites) {}

  SiteSpec& matrix(const std::string& name, SiteKind kind, std::vector<std::int64_t> shape) {
    return add(name, ".weight", kind, std::move(shape));
  }
  void vector(const std::string& name, const char* suffix, std::vector<std::int64_t> shape) {
    add(name, suffix, SiteKind::vector, std::move(shape));
  }
  /// A bias is a site of its own, named like its tensor.
  void bias(const std::string& of, std::int64_t size) {
    const std::string name = sites_.back().name + ".bias";
    sites_.back().bias = name;
    vector("mixer." + of + ".bias", "", {size});
  }

 private:
  SiteSpec& add(const std::string& name, const char* suffix, SiteKind kind, std::vector<std::int64_t> shape) {
    SiteSpec site;
    site.name = layer_prefix(layer_) + name;
    site.tensor_name = site.name + suffix;
    site.kind = kind;
    site.shape = std::move(shape);
    const std::string mixer = "mixer.";
    site.roles = {name.starts_with(mixer) ? name.substr(mixer.size()) : name};
    site.layer = static_cast<int>(layer_);
    return sites_.emplace_back(std::move(site));
  }

  std::int64_t layer_;
  std::vector<SiteSpec>& sites_;
};

void add_layer(const Configuration& c, std::int64_t layer, std::vector<SiteSpec>& all) {
  const std::int64_t inner = c.d_inner();
  LayerSites sites(layer, all);
  sites.vector("norm", ".weight", {c.d_model});
  sites.matrix("mixer.in_proj", SiteKind::linear, {2 * inner, c.d_model}).parts = {{"x", 0, inner},
                                                                                   {"z", inner, inner}};
  if (c.use_bias) sites.bias("in_proj", 2 * inner);
  sites.matrix("mixer.conv1d", SiteKind::conv1d, {inner, 1, c.conv_width});
  if (c.conv_bias) sites.bias("conv1d", inner);
  sites.matrix("mixer.x_proj", SiteKind::linear, {c.dt_rank + 2 * c.d_state, inner}).parts = {
      {"dt", 0, c.dt_rank}, {"B", c.dt_rank, c.d_state}, {"C", c.dt_rank + c.d_state, c.d_state}};
  sites.matrix("mixer.dt_proj", SiteKind::linear, {inner, c.dt_rank});
  sites.bias("dt_proj", inner);
  sites.vector("mixer.A_log", "", {inner, c.d_state});
  sites.vector("mixer.D", "", {inner});
  sites.matrix("mixer.out_proj", SiteKind::linear, {c.d_model, inner});
  if (c.use_bias) sites.bias("out_proj", c.d_model);
}

SiteSpec outer_site(const char* name, SiteKind kind, std::vector<std::int64_t> shape, std::vector<std::string> roles) {
  SiteSpec site;
  site.name = name;
  site.tensor_name = site.name + ".weight";
  site.kind = kind;
  site.shape = std::move(shape);
  site.roles = std::move(roles);
  return site;
}

Symmetry channels_of(const Configuration& c, std::int64_t layer) {
  const std::string mixer = layer_prefix(layer) + "mixer.";
  const std::int64_t inner = c.d_inner();
  Symmetry result{"layers." + std::to_string(layer) + ".channels", "channels", static_cast<int>(layer), inner, 1, {}};
  const auto rows = [&](const char* name, std::int64_t start = 0) {
    result.members.push_back({mixer + name, 0, start});
  };
  rows("in_proj");
  rows("in_proj", inner);
  if (c.use_bias) {
    rows("in_proj.bias");
    rows("in_proj.bias", inner);
  }
  rows("conv1d");
  if (c.conv_bias) rows("conv1d.bias");
  result.members.push_back({mixer + "x_proj", 1, 0});
  rows("dt_proj");
  rows("dt_proj.bias");
  rows("A_log");
  rows("D");
  result.members.push_back({mixer + "out_proj", 1, 0});
  return result;
}

Symmetry state_of(const Configuration& c, std::int64_t layer) {
  const std::string mixer = layer_prefix(layer) + "mixer.";
  return {"layers." + std::to_string(layer) + ".state",
          "state",
          static_cast<int>(layer),
          c.d_state,
          1,
          {{mixer + "x_proj", 0, c.dt_rank}, {mixer + "x_proj", 0, c.dt_rank + c.d_state}, {mixer + "A_log", 1, 0}}};
}

Symmetry residual_stream(const Configuration& c) {
  Symmetry result{"model", "model", -1, c.d_model, 1, {{kEmbeddingSite, 1, 0}}};
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string prefix = layer_prefix(layer);
    result.members.push_back({prefix + "norm", 0, 0});
    result.members.push_back({prefix + "mixer.in_proj", 1, 0});
    result.members.push_back({prefix + "mixer.out_proj", 0, 0});
    if (c.use_bias) result.members.push_back({prefix + "mixer.out_proj.bias", 0, 0});
  }
  result.members.push_back({kFinalNormSite, 0, 0});
  return result;
}

}  // namespace

std::string layer_prefix(std::int64_t layer) {
  return "backbone.layers." + std::to_string(layer) + ".";
}

std::vector<SiteSpec> Mamba::sites(const Json& document) const {
  const Configuration c = configuration_from(document);
  std::vector<SiteSpec> result;
  result.push_back(outer_site(kEmbeddingSite, SiteKind::embedding, {c.vocabulary, c.d_model}, {"embedding", "head"}));
  for (std::int64_t layer = 0; layer < c.layers; ++layer) add_layer(c, layer, result);
  result.push_back(outer_site(kFinalNormSite, SiteKind::vector, {c.d_model}, {"norm_f"}));
  return result;
}

std::vector<Symmetry> Mamba::symmetries(const Json& document) const {
  const Configuration c = configuration_from(document);
  std::vector<Symmetry> result;
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    result.push_back(channels_of(c, layer));
    result.push_back(state_of(c, layer));
  }
  result.push_back(residual_stream(c));
  return result;
}

// Counted as written, an exponential, a division and a square root as one each. What multiplies by or adds a site (D,
// biases, the norms' weights) is that site's own cost.
std::vector<FixedCost> Mamba::fixed_costs(const Json& document, std::int64_t length) const {
  const Configuration c = configuration_from(document);
  const auto tokens = static_cast<double>(length);
  const auto layers = static_cast<double>(c.layers);
  const auto inner = static_cast<double>(c.d_inner());
  // exp(delta A): 2; delta x times B: 1; h: 2; C h: 2. Once a channel: delta x: 1, adding D x: 1.
  constexpr double kScanPerState = 7, kScanPerChannel = 2;
  constexpr double kSilu = 4, kSoftplus = 3;
  const double activations = 2 * kSilu + kSoftplus + 1;  // of x and z, of delta, and the product with silu(z)
  // Square, sum, scale: 3 an element; a norm in each layer and at the end. The residual's addition: 1.
  constexpr double kNorm = 3;
  return {{"scan", tokens * layers * inner * (kScanPerState * static_cast<double>(c.d_state) + kScanPerChannel)},
          {"activations", tokens * layers * inner * activations},
          {"norms", tokens * (layers + 1) * kNorm * static_cast<double>(c.d_model)},
          {"residual", tokens * layers * static_cast<double>(c.d_model)}};
}

double Mamba::applications(const Json&, const SiteSpec& site, std::int64_t length) const {
  // -exp(A_log) is taken once a pass.
  return site.roles.front() == "A_log" ? 1.0 : static_cast<double>(length);
}

}  // namespace colonnade::mamba
