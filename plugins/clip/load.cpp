#include "load.h"

#include <ATen/Functions.h>

#include <set>

#include "architecture.h"
#include "colonnade/error.h"
#include "colonnade/tensor/weight_files.h"
#include "layout.h"
#include "published_config.h"

namespace colonnade::clip {
namespace {

constexpr std::int64_t kPublishedHeadWidth = 64;
constexpr std::int64_t kLegacyEndToken = 2;  // of early config.json files, whose texts are read off at the highest id

[[noreturn]] void refuse(const std::string& file, const std::string& reason) {
  throw Error(ErrorKind::input, file + ": " + reason);
}

Configuration read_sizes(const WeightFiles& file, const Layout& layout) {
  Configuration c;
  c.vocabulary = file.shape(layout.token_embedding(), 2)[0];
  c.text.width = file.shape(layout.token_embedding(), 2)[1];
  c.length = file.shape(layout.text_positions(), 2)[0];
  c.dimensions = file.shape(layout.vision_projection(), 2)[layout.original() ? 1 : 0];
  const auto& kernel = file.shape(layout.patch_embedding(), 4);
  c.vision.width = kernel[0];
  c.patch = kernel[2];
  for (const Side side : {Side::text, Side::vision}) {
    Tower& tower = side == Side::text ? c.text : c.vision;
    tower.layers = file.layers(layout.layers_prefix(side));
    tower.hidden = file.shape(layout.first_layer_mlp(side), 2)[0];
  }
  const std::int64_t positions = file.shape(layout.vision_positions(), 2)[0];
  std::int64_t grid = 1;
  while ((grid + 1) * (grid + 1) <= positions - 1) ++grid;
  if (grid * grid != positions - 1) {
    refuse(file.path(), "tensor '" + layout.vision_positions() + "' has " + std::to_string(positions) +
                            " positions, which are not one more than a square");
  }
  c.picture = grid * c.patch;
  return c;
}

/// The entry "text.width" and the like of a configuration's document.
const Json& entry_of(const Json& document, const std::string& name) {
  const auto dot = name.find('.');
  return dot == std::string::npos ? document.at(name) : document.at(name.substr(0, dot)).at(name.substr(dot + 1));
}

/// What the request, config.json or, without one, custom says.
std::int64_t heads_of(const WeightFiles& file, const std::optional<std::int64_t>& requested,
                      const std::optional<std::int64_t>& published, const Tower& tower, const std::string& name) {
  if (requested && published && *requested != *published) {
    refuse(file.path(), "the parameter '" + name + "_heads' is " + std::to_string(*requested) +
                            ", but config.json says " + std::to_string(*published));
  }
  if (requested) return *requested;
  if (published) return *published;
  if (tower.width % kPublishedHeadWidth == 0) return tower.width / kPublishedHeadWidth;
  refuse(file.path(), "the " + name + " tower's width of " + std::to_string(tower.width) + " is no multiple of " +
                          std::to_string(kPublishedHeadWidth) +
                          " and no config.json says how many heads it has; give '" + name + "_heads'");
}

/// What the tensors do not show.
void settle(const WeightFiles& file, const LoadRequest& request, Configuration& c) {
  PublishedConfig published;
  const std::string config = request.config.value_or(file.config());
  if (!config.empty()) {
    // What such a file leaves out has the defaults of the code that writes it.
    constexpr std::int64_t kTextHeads = 8, kVisionHeads = 12, kEndToken = 49407;
    published = read_published_config(config);
    const Json found = to_json(c);
    for (const PublishedEntry& entry : published.sizes) {
      if (entry_of(found, entry.name) == entry.value) continue;
      refuse(file.path(), "its tensors show " + entry.name + " = " + entry_of(found, entry.name).dump() + ", but " +
                              config + " ('" + entry.key + "') says " + std::to_string(entry.value));
    }
    published.text_heads = published.text_heads.value_or(kTextHeads);
    published.vision_heads = published.vision_heads.value_or(kVisionHeads);
    published.end_token = published.end_token.value_or(kEndToken);
  }
  c.text.heads = heads_of(file, request.text_heads, published.text_heads, c.text, "text");
  c.vision.heads = heads_of(file, request.vision_heads, published.vision_heads, c.vision, "vision");
  const auto activation = [&](const std::optional<Activation>& own) {
    return request.activation.value_or(own.value_or(Activation::quick_gelu));
  };
  c.text.activation = activation(published.text_activation);
  c.vision.activation = activation(published.vision_activation);
  c.text.norm_epsilon = published.text_epsilon.value_or(c.text.norm_epsilon);
  c.vision.norm_epsilon = published.vision_epsilon.value_or(c.vision.norm_epsilon);
  const std::optional<std::int64_t> end = request.end_token ? request.end_token : published.end_token;
  const bool by_id = !end || (!request.end_token && *end == kLegacyEndToken);
  c.pooling = by_id ? Pooling::highest_id : Pooling::end_token;
  c.end_token = by_id ? c.vocabulary - 1 : *end;
}

/// The shape that a site's source must have in the file.
std::vector<std::int64_t> source_shape(const Source& source, const SiteSpec& site) {
  std::vector<std::int64_t> shape = site.published_shape.value_or(site.shape);
  if (source.transposed) std::swap(shape.at(0), shape.at(1));
  if (source.rows >= 0) shape.at(0) *= 3;  // queries, keys and values
  return shape;
}

Tensor read_weight(const WeightFiles& file, const Source& source, const SiteSpec& site, at::ScalarType type) {
  file.require(source.tensor, source_shape(source, site));
  Tensor whole = file.read(source.tensor);
  if (source.rows >= 0) whole = whole.narrow(0, source.start, source.rows);
  if (source.transposed) whole = whole.t();
  Tensor weight = whole.to(type).contiguous().reshape(site.shape);
  if (weight.is_same(whole) || source.rows >= 0) weight = weight.clone();
  require_finite(weight, file.file_of(source.tensor) + ", tensor '" + source.tensor + "'");
  return weight;
}

}  // namespace

Model load_model(const LoadRequest& request) {
  const WeightFiles file(request.weights);
  const Layout layout(file);
  Configuration configuration = read_sizes(file, layout);
  settle(file, request, configuration);
  configuration.wide = request.wide;
  check(configuration);

  Model model(std::make_shared<const Clip>(), to_json(configuration));
  std::set<std::string> used;
  for (const SiteSpec& site : model.sites()) {
    const Source source = layout.source_of(configuration, site);
    SiteWeight weight;
    weight.sparse = read_weight(file, source, site, configuration.wide ? at::kDouble : at::kFloat);
    model.set_weight(site.name, std::move(weight));
    used.insert(source.tensor);
  }
  for (const auto& [name, entry] : file.tensors()) {
    if (layout.is_buffer(name)) used.insert(name);
  }
  file.require_no_others(used);
  return model;
}

}  // namespace colonnade::clip
