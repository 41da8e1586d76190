#include "load.h"

#include <ATen/Functions.h>

#include <filesystem>
#include <set>

#include "architecture.h"
#include "colonnade/error.h"
#include "colonnade/tensor/safetensors.h"
#include "layout.h"
#include "published_config.h"

namespace colonnade::clip {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPublishedHeadWidth = 64;
constexpr std::int64_t kLegacyEndToken = 2;  // of early config.json files, whose texts are read off at the highest id

[[noreturn]] void refuse(const std::string& file, const std::string& reason) {
  throw Error(ErrorKind::input, file + ": " + reason);
}

struct Paths {
  std::string weights;
  std::string config;  // "" none
};

Paths find_files(const LoadRequest& request) {
  Paths paths{request.weights, request.config.value_or("")};
  if (!fs::is_directory(request.weights)) return paths;
  const fs::path folder = request.weights;
  const fs::path weights = folder / "model.safetensors";
  if (!fs::exists(weights)) {
    std::string found;
    for (const char* other : {"model.safetensors.index.json", "pytorch_model.bin", "open_clip_pytorch_model.bin"}) {
      if (fs::exists(folder / other)) found = std::string("; it has ") + other + ", which is not read";
    }
    refuse(request.weights, "the folder has no model.safetensors" + found);
  }
  paths.weights = weights.string();
  if (paths.config.empty() && fs::exists(folder / "config.json")) paths.config = (folder / "config.json").string();
  return paths;
}

/// Sizes as the tensors show them.
class Shapes {
 public:
  Shapes(const SafetensorsFile& file, const Layout& layout) : file_(file), layout_(layout) {}

  const std::vector<std::int64_t>& of(const std::string& name, std::size_t dimensions) const {
    const auto found = file_.tensors.find(name);
    if (found == file_.tensors.end()) {
      std::vector<std::string> names;
      for (const auto& [key, entry] : file_.tensors) names.push_back(key);
      refuse(file_.path, "has no tensor '" + name + "', which every CLIP model has" + did_you_mean(name, names));
    }
    const auto& shape = found->second.shape;
    if (shape.size() != dimensions) {
      refuse(file_.path, "tensor '" + name + "' has the shape " + shape_text(shape) + ", expected " +
                             std::to_string(dimensions) + " dimensions");
    }
    for (const std::int64_t extent : shape) {
      if (extent < 1) refuse(file_.path, "tensor '" + name + "' is empty: " + shape_text(shape));
    }
    return shape;
  }

  std::int64_t layers(Side side) const {
    const std::string prefix = layout_.layers_prefix(side);
    std::set<std::string> numbers;
    for (const auto& [name, entry] : file_.tensors) {
      if (!name.starts_with(prefix)) continue;
      numbers.insert(name.substr(prefix.size(), name.find('.', prefix.size()) - prefix.size()));
    }
    if (numbers.empty()) refuse(file_.path, "has no tensor '" + prefix + "0...': no layer at all");
    for (std::size_t layer = 0; layer < numbers.size(); ++layer) {
      if (!numbers.contains(std::to_string(layer))) {
        refuse(file_.path, "has " + std::to_string(numbers.size()) + " layers under '" + prefix +
                               "', but none with the number " + std::to_string(layer));
      }
    }
    return static_cast<std::int64_t>(numbers.size());
  }

 private:
  const SafetensorsFile& file_;
  const Layout& layout_;
};

Configuration read_sizes(const SafetensorsFile& file, const Layout& layout) {
  const Shapes shapes(file, layout);
  Configuration c;
  c.vocabulary = shapes.of(layout.token_embedding(), 2)[0];
  c.text.width = shapes.of(layout.token_embedding(), 2)[1];
  c.length = shapes.of(layout.text_positions(), 2)[0];
  c.dimensions = shapes.of(layout.vision_projection(), 2)[layout.original() ? 1 : 0];
  const auto& kernel = shapes.of(layout.patch_embedding(), 4);
  c.vision.width = kernel[0];
  c.patch = kernel[2];
  for (const Side side : {Side::text, Side::vision}) {
    Tower& tower = side == Side::text ? c.text : c.vision;
    tower.layers = shapes.layers(side);
    tower.hidden = shapes.of(layout.first_layer_mlp(side), 2)[0];
  }
  const std::int64_t positions = shapes.of(layout.vision_positions(), 2)[0];
  std::int64_t grid = 1;
  while ((grid + 1) * (grid + 1) <= positions - 1) ++grid;
  if (grid * grid != positions - 1) {
    refuse(file.path, "tensor '" + layout.vision_positions() + "' has " + std::to_string(positions) +
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
std::int64_t heads_of(const SafetensorsFile& file, const std::optional<std::int64_t>& requested,
                      const std::optional<std::int64_t>& published, const Tower& tower, const std::string& name) {
  if (requested && published && *requested != *published) {
    refuse(file.path, "the parameter '" + name + "_heads' is " + std::to_string(*requested) +
                          ", but config.json says " + std::to_string(*published));
  }
  if (requested) return *requested;
  if (published) return *published;
  if (tower.width % kPublishedHeadWidth == 0) return tower.width / kPublishedHeadWidth;
  refuse(file.path, "the " + name + " tower's width of " + std::to_string(tower.width) + " is no multiple of " +
                        std::to_string(kPublishedHeadWidth) + " and no config.json says how many heads it has; give '" +
                        name + "_heads'");
}

/// What the tensors do not show.
void settle(const SafetensorsFile& file, const Paths& paths, const LoadRequest& request, Configuration& c) {
  PublishedConfig published;
  if (!paths.config.empty()) {
    // What such a file leaves out has the defaults of the code that writes it.
    constexpr std::int64_t kTextHeads = 8, kVisionHeads = 12, kEndToken = 49407;
    published = read_published_config(paths.config);
    const Json found = to_json(c);
    for (const PublishedEntry& entry : published.sizes) {
      if (entry_of(found, entry.name) == entry.value) continue;
      refuse(file.path, "its tensors show " + entry.name + " = " + entry_of(found, entry.name).dump() + ", but " +
                            paths.config + " ('" + entry.key + "') says " + std::to_string(entry.value));
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

void require_shape(const SafetensorsFile& file, const std::string& name, const std::vector<std::int64_t>& expected) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) {
    refuse(file.path, "has no tensor '" + name + "', which its other tensors ask for");
  }
  if (found->second.shape != expected) {
    refuse(file.path, "tensor '" + name + "' has the shape " + shape_text(found->second.shape) + ", expected " +
                          shape_text(expected));
  }
  if (!c10::isFloatingType(found->second.type)) {
    refuse(file.path,
           "tensor '" + name + "' holds " + c10::toString(found->second.type) + ", expected a floating type");
  }
}

/// The shape that a site's source must have in the file.
std::vector<std::int64_t> source_shape(const Source& source, const SiteSpec& site) {
  std::vector<std::int64_t> shape = site.published_shape.value_or(site.shape);
  if (source.transposed) std::swap(shape.at(0), shape.at(1));
  if (source.rows >= 0) shape.at(0) *= 3;  // queries, keys and values
  return shape;
}

Tensor read_weight(const SafetensorsFile& file, const Source& source, const SiteSpec& site, at::ScalarType type) {
  require_shape(file, source.tensor, source_shape(source, site));
  Tensor whole = read_tensor(file, source.tensor);
  if (source.rows >= 0) whole = whole.narrow(0, source.start, source.rows);
  if (source.transposed) whole = whole.t();
  Tensor weight = whole.to(type).contiguous().reshape(site.shape);
  if (weight.is_same(whole) || source.rows >= 0) weight = weight.clone();
  require_finite(weight, file.path + ", tensor '" + source.tensor + "'");
  return weight;
}

}  // namespace

Model load_model(const LoadRequest& request) {
  const Paths paths = find_files(request);
  const SafetensorsFile file = open_safetensors(paths.weights);
  const Layout layout(file);
  Configuration configuration = read_sizes(file, layout);
  settle(file, paths, request, configuration);
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
  for (const auto& [name, entry] : file.tensors) {
    if (used.contains(name) || layout.is_buffer(name)) continue;
    refuse(file.path, "tensor '" + name + "' has no place in a CLIP model of these sizes" +
                          did_you_mean(name, {used.begin(), used.end()}));
  }
  refuse_overlaps(file);
  return model;
}

}  // namespace colonnade::clip
