// What a CLIP model is made of: its sites, the symmetries among them, and what the work between them costs.
#include "architecture.h"

namespace colonnade::clip {
namespace {

/// Declares sites, by names without ".weight".
class SiteList {
 public:
  explicit SiteList(std::vector<SiteSpec>& sites) : sites_(sites) {}

  SiteSpec& matrix(const std::string& name, SiteKind kind, std::int64_t rows, std::int64_t columns) {
    return add(name, name + ".weight", kind, {rows, columns});
  }
  /// A linear with a bias, which is a site of its own, named like its tensor.
  void linear(const std::string& name, std::int64_t rows, std::int64_t columns, bool down = false) {
    matrix(name, SiteKind::linear, rows, columns).feed_forward_down = down;
    bias(name, rows);
  }
  void norm(const std::string& name, std::int64_t size) {
    add(name, name + ".weight", SiteKind::vector, {size});
    bias(name, size);
  }
  void vector(const std::string& name, std::int64_t size) { add(name, name, SiteKind::vector, {size}); }
  SiteSpec& last() { return sites_.back(); }

 private:
  SiteSpec& add(const std::string& name, const std::string& tensor, SiteKind kind, std::vector<std::int64_t> shape) {
    SiteSpec site;
    site.name = name;
    site.tensor_name = tensor;
    site.kind = kind;
    site.shape = std::move(shape);
    const std::string layers = ".layers.";
    const auto at = name.find(layers);
    if (at != std::string::npos) {
      const auto number = name.substr(at + layers.size());
      site.layer = std::stoi(number);
      site.roles = {number.substr(number.find('.') + 1)};
      if (site.roles.front().find('.') != std::string::npos) short_role(site.roles.front());
    } else {
      site.roles = {name.substr(name.rfind('.', name.size() - 1) + 1)};
    }
    site.roles.push_back(name.starts_with("text") ? "text" : name == kLogitScale ? "logits" : "vision");
    return sites_.emplace_back(std::move(site));
  }
  /// "self_attn.q_proj" is "q_proj", "mlp.fc1.bias" "fc1.bias".
  static void short_role(std::string& role) {
    for (const char* prefix : {"self_attn.", "mlp."}) {
      if (role.starts_with(prefix)) role = role.substr(std::char_traits<char>::length(prefix));
    }
  }
  void bias(const std::string& of, std::int64_t size) {
    const std::string name = of + ".bias";
    sites_.back().bias = name;
    const std::string role = sites_.back().roles.front();
    vector(name, size);
    sites_.back().roles.front() = role + ".bias";
  }

  std::vector<SiteSpec>& sites_;
};

void add_layers(const Configuration& c, Side side, SiteList& sites) {
  const Tower& tower = tower_of(c, side);
  for (std::int64_t layer = 0; layer < tower.layers; ++layer) {
    const std::string prefix = layer_prefix(side, layer);
    sites.norm(prefix + "layer_norm1", tower.width);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      sites.linear(prefix + "self_attn." + name, tower.width, tower.width);
    }
    sites.norm(prefix + "layer_norm2", tower.width);
    sites.linear(prefix + "mlp.fc1", tower.hidden, tower.width);
    sites.linear(prefix + "mlp.fc2", tower.width, tower.hidden, true);
  }
}

std::string symmetry_prefix(Side side, std::int64_t layer) {
  return std::string(side_name(side)) + ".layers." + std::to_string(layer) + ".";
}

/// Heads as wholes, and the two kinds of axes within each.
void add_head_symmetries(const Tower& tower, Side side, std::int64_t layer, std::vector<Symmetry>& all) {
  const std::string attention = layer_prefix(side, layer) + "self_attn.";
  const std::string prefix = symmetry_prefix(side, layer);
  const std::int64_t each = tower.head_width();
  const auto rows = [&](Symmetry& symmetry, const char* name, std::int64_t start) {
    symmetry.members.push_back({attention + name, 0, start});
    symmetry.members.push_back({attention + name + ".bias", 0, start});
  };
  Symmetry heads{prefix + "heads", "heads", static_cast<int>(layer), tower.heads, each, {}};
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) rows(heads, name, 0);
  heads.members.push_back({attention + "out_proj", 1, 0});
  all.push_back(std::move(heads));
  for (std::int64_t head = 0; head < tower.heads; ++head) {
    const std::string own = prefix + "head." + std::to_string(head) + ".";
    Symmetry values{own + "values", "values", static_cast<int>(layer), each, 1, {}};
    rows(values, "v_proj", head * each);
    values.members.push_back({attention + "out_proj", 1, head * each});
    all.push_back(std::move(values));
    Symmetry queries{own + "queries", "queries", static_cast<int>(layer), each, 1, {}};
    rows(queries, "q_proj", head * each);
    rows(queries, "k_proj", head * each);
    all.push_back(std::move(queries));
  }
}

Symmetry hidden_units(const Tower& tower, Side side, std::int64_t layer) {
  const std::string mlp = layer_prefix(side, layer) + "mlp.";
  return {symmetry_prefix(side, layer) + "hidden",
          "hidden",
          static_cast<int>(layer),
          tower.hidden,
          1,
          {{mlp + "fc1", 0, 0}, {mlp + "fc1.bias", 0, 0}, {mlp + "fc2", 1, 0}}};
}

/// Exact, since a norm over the width does not know the order of what it sums.
Symmetry residual_stream(const Configuration& c, Side side) {
  const Tower& tower = tower_of(c, side);
  Symmetry result{side_name(side), "model", -1, tower.width, 1, {}};
  const auto rows = [&](const std::string& name, bool biased) {
    result.members.push_back({name, 0, 0});
    if (biased) result.members.push_back({name + ".bias", 0, 0});
  };
  const auto columns = [&](const std::string& name) { result.members.push_back({name, 1, 0}); };
  if (side == Side::text) {
    columns(kTokenEmbedding);
    columns(kTextPositions);
  } else {
    rows(kClassEmbedding, false);
    rows(kPatchEmbedding, false);
    columns(kVisionPositions);
    rows(kPreNorm, true);
  }
  for (std::int64_t layer = 0; layer < tower.layers; ++layer) {
    const std::string prefix = layer_prefix(side, layer);
    rows(prefix + "layer_norm1", true);
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) columns(prefix + "self_attn." + name);
    rows(prefix + "self_attn.out_proj", true);
    rows(prefix + "layer_norm2", true);
    columns(prefix + "mlp.fc1");
    rows(prefix + "mlp.fc2", true);
  }
  rows(side == Side::text ? kTextNorm : kPostNorm, true);
  columns(side == Side::text ? kTextProjection : kVisionProjection);
  return result;
}

/// Of one tower over `tokens` tokens, an exponential, a division and a square root counted as one each.
void add_tower_costs(const Tower& tower, const std::string& name, double tokens, std::vector<FixedCost>& costs) {
  const auto layers = static_cast<double>(tower.layers), width = static_cast<double>(tower.width);
  const auto heads = static_cast<double>(tower.heads), hidden = static_cast<double>(tower.hidden);
  // Products of queries and keys and of weights and values: 2 each; scale, subtract the highest, exp, sum, divide.
  constexpr double kProducts = 4, kSoftmax = 5;
  costs.push_back({name + " attention", layers * tokens * tokens * (kProducts * width + kSoftmax * heads)});
  constexpr double kActivation = 5;  // slope, exp, add, divide, multiply
  costs.push_back({name + " activations", layers * tokens * hidden * kActivation});
  // Mean, deviation, square, sum, scale.
  constexpr double kNorm = 5;
  costs.push_back({name + " norms", (2 * layers + 1) * tokens * width * kNorm});
  costs.push_back({name + " residual", 2 * layers * tokens * width});
}

}  // namespace

std::string layer_prefix(Side side, std::int64_t layer) {
  return std::string(side_name(side)) + "_model.encoder.layers." + std::to_string(layer) + ".";
}

const char* side_name(Side side) {
  return side == Side::text ? "text" : "vision";
}

const Tower& tower_of(const Configuration& configuration, Side side) {
  return side == Side::text ? configuration.text : configuration.vision;
}

std::vector<SiteSpec> Clip::sites(const Json& document) const {
  const Configuration c = configuration_from(document);
  std::vector<SiteSpec> result;
  SiteList sites(result);
  sites.matrix(kTokenEmbedding, SiteKind::embedding, c.vocabulary, c.text.width);
  sites.matrix(kTextPositions, SiteKind::embedding, c.length, c.text.width);
  add_layers(c, Side::text, sites);
  sites.norm(kTextNorm, c.text.width);
  sites.vector(kClassEmbedding, c.vision.width);
  constexpr std::int64_t kChannels = 3;
  sites.matrix(kPatchEmbedding, SiteKind::linear, c.vision.width, c.patch_values()).published_shape = {
      {c.vision.width, kChannels, c.patch, c.patch}};
  sites.matrix(kVisionPositions, SiteKind::embedding, c.patches() + 1, c.vision.width);
  sites.norm(kPreNorm, c.vision.width);
  add_layers(c, Side::vision, sites);
  sites.norm(kPostNorm, c.vision.width);
  sites.matrix(kVisionProjection, SiteKind::linear, c.dimensions, c.vision.width);
  sites.matrix(kTextProjection, SiteKind::linear, c.dimensions, c.text.width);
  sites.vector(kLogitScale, 1);
  sites.last().published_shape.emplace();  // a number of no dimensions
  return result;
}

std::vector<Symmetry> Clip::symmetries(const Json& document) const {
  const Configuration c = configuration_from(document);
  std::vector<Symmetry> result;
  for (const Side side : {Side::text, Side::vision}) {
    const Tower& tower = tower_of(c, side);
    for (std::int64_t layer = 0; layer < tower.layers; ++layer) {
      add_head_symmetries(tower, side, layer, result);
      result.push_back(hidden_units(tower, side, layer));
    }
    result.push_back(residual_stream(c, side));
  }
  return result;
}

// One picture and one text of `length` tokens.
std::vector<FixedCost> Clip::fixed_costs(const Json& document, std::int64_t length) const {
  const Configuration c = configuration_from(document);
  std::vector<FixedCost> costs;
  add_tower_costs(c.text, "text", static_cast<double>(length), costs);
  add_tower_costs(c.vision, "vision", static_cast<double>(c.patches() + 1), costs);
  return costs;
}

double Clip::applications(const Json& document, const SiteSpec& site, std::int64_t length) const {
  const Configuration c = configuration_from(document);
  const std::string& name = site.name;
  if (name == kPatchEmbedding) return static_cast<double>(c.patches());
  const bool once = name == kTextProjection || name == kVisionProjection || name == kLogitScale ||
                    name == kClassEmbedding || name.starts_with(kTextNorm) || name.starts_with(kPostNorm);
  if (once) return 1;
  return static_cast<double>(name.starts_with("text") ? length : c.patches() + 1);
}

}  // namespace colonnade::clip
