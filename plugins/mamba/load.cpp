#include "load.h"

#include <ATen/Functions.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "architecture.h"
#include "colonnade/error.h"
#include "colonnade/tensor/safetensors.h"
#include "published_config.h"

namespace colonnade::mamba {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHubEmbedding = "backbone.embeddings.weight";
constexpr const char* kOriginalEmbedding = "backbone.embedding.weight";
constexpr const char* kHead = "lm_head.weight";

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
    for (const char* other : {"model.safetensors.index.json", "pytorch_model.bin"}) {
      if (fs::exists(folder / other)) found = std::string("; it has ") + other + ", which is not read";
    }
    refuse(request.weights, "the folder has no model.safetensors" + found);
  }
  paths.weights = weights.string();
  if (paths.config.empty() && fs::exists(folder / "config.json")) paths.config = (folder / "config.json").string();
  return paths;
}

/// Sizes as the tensors show them, and by which tensor.
class Shapes {
 public:
  explicit Shapes(const SafetensorsFile& file) : file_(file) {}

  bool has(const std::string& name) const { return file_.tensors.contains(name); }
  const std::vector<std::int64_t>& of(const std::string& name, std::size_t dimensions) const {
    const auto found = file_.tensors.find(name);
    if (found == file_.tensors.end()) {
      std::vector<std::string> names;
      for (const auto& [key, entry] : file_.tensors) names.push_back(key);
      refuse(file_.path, "has no tensor '" + name + "', which every Mamba model has" + did_you_mean(name, names));
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
  /// One more than the highest layer number of any tensor.
  std::int64_t layers() const {
    const std::string prefix = "backbone.layers.";
    std::set<std::string> numbers;
    for (const auto& [name, entry] : file_.tensors) {
      if (!name.starts_with(prefix)) continue;
      numbers.insert(name.substr(prefix.size(), name.find('.', prefix.size()) - prefix.size()));
    }
    for (std::size_t layer = 0; layer < numbers.size(); ++layer) {
      if (!numbers.contains(std::to_string(layer))) {
        refuse(file_.path,
               "has " + std::to_string(numbers.size()) + " layers, but none with the number " + std::to_string(layer));
      }
    }
    if (numbers.empty()) refuse(file_.path, "has no tensor 'backbone.layers.0...': no layer at all");
    return static_cast<std::int64_t>(numbers.size());
  }

 private:
  const SafetensorsFile& file_;
};

Configuration read_sizes(const SafetensorsFile& file, const std::string& embedding) {
  const Shapes shapes(file);
  Configuration c;
  c.vocabulary = shapes.of(embedding, 2)[0];
  c.d_model = shapes.of(embedding, 2)[1];
  c.layers = shapes.layers();
  const std::string mixer = layer_prefix(0) + "mixer.";
  const auto& a_log = shapes.of(mixer + "A_log", 2);
  c.d_state = a_log[1];
  if (a_log[0] % c.d_model != 0) {
    refuse(file.path, "tensor '" + mixer + "A_log' has " + std::to_string(a_log[0]) +
                          " channels, which is no multiple of d_model = " + std::to_string(c.d_model));
  }
  if (c.d_state > kMaxScanStates) {
    refuse(file.path, "tensor '" + mixer + "A_log' has " + std::to_string(c.d_state) + " states, at most " +
                          std::to_string(kMaxScanStates) + " are possible");
  }
  c.expand = a_log[0] / c.d_model;
  c.conv_width = shapes.of(mixer + "conv1d.weight", 3)[2];
  c.dt_rank = shapes.of(mixer + "dt_proj.weight", 2)[1];
  c.use_bias = shapes.has(mixer + "in_proj.bias");
  c.conv_bias = shapes.has(mixer + "conv1d.bias");
  return c;
}

/// `source` says who expects it: a file's entry or a parameter.
void require_entry(const SafetensorsFile& file, const Json& found, const std::string& name, const Json& expected,
                   const std::string& source) {
  if (found.at(name) == expected) return;
  refuse(file.path,
         "its tensors show " + name + " = " + found.at(name).dump() + ", but " + source + " says " + expected.dump());
}

void apply_expectations(const SafetensorsFile& file, const Paths& paths, const LoadRequest& request, Configuration& c) {
  const Json found = to_json(c);
  if (!paths.config.empty()) {
    const PublishedConfig published = read_published_config(paths.config);
    for (const PublishedEntry& entry : published.sizes) {
      require_entry(file, found, entry.name, entry.value, paths.config + " ('" + entry.key + "')");
    }
    c.norm_epsilon = published.norm_epsilon.value_or(c.norm_epsilon);
  }
  for (const auto& [name, value] : request.expected.items()) {
    if (name == "norm_epsilon") {
      c.norm_epsilon = value.get<double>();
    } else {
      require_entry(file, found, name, value, "the parameter '" + name + "'");
    }
  }
}

/// In the model's floating type, whatever floating type the file has.
Tensor read_weight(const SafetensorsFile& file, const std::string& name, const SiteSpec& site, at::ScalarType type) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) {
    refuse(file.path, "has no tensor '" + name + "', which its other tensors ask for");
  }
  if (found->second.shape != site.shape) {
    refuse(file.path, "tensor '" + name + "' has the shape " + shape_text(found->second.shape) + ", expected " +
                          shape_text(site.shape));
  }
  if (!c10::isFloatingType(found->second.type)) {
    refuse(file.path,
           "tensor '" + name + "' holds " + c10::toString(found->second.type) + ", expected a floating type");
  }
  Tensor weight = read_tensor(file, name).to(type);
  require_finite(weight, file.path + ", tensor '" + name + "'");
  return weight;
}

void require_no_others(const SafetensorsFile& file, const std::set<std::string>& used) {
  for (const auto& [name, entry] : file.tensors) {
    if (used.contains(name)) continue;
    refuse(file.path, "tensor '" + name + "' has no place in a Mamba model of these sizes" +
                          did_you_mean(name, {used.begin(), used.end()}));
  }
}

/// A stored head must be the embedding again.
void check_head(const SafetensorsFile& file, const std::string& embedding, std::set<std::string>& used) {
  if (!file.tensors.contains(kHead)) return;
  if (file.tensors.at(kHead).type != file.tensors.at(embedding).type ||
      !at::equal(read_tensor(file, kHead), read_tensor(file, embedding))) {
    refuse(file.path,
           std::string("tensor '") + kHead + "' differs from '" + embedding + "': only tied heads are supported");
  }
  used.insert(kHead);
}

}  // namespace

Model load_model(const LoadRequest& request) {
  const Paths paths = find_files(request);
  const SafetensorsFile file = open_safetensors(paths.weights);
  const bool original = file.tensors.contains(kOriginalEmbedding) && !file.tensors.contains(kHubEmbedding);
  const std::string embedding = original ? kOriginalEmbedding : kHubEmbedding;
  Configuration configuration = read_sizes(file, embedding);
  apply_expectations(file, paths, request, configuration);
  configuration.discretization = request.discretization;
  configuration.fused = request.fused;
  configuration.wide = request.wide;

  Model model(std::make_shared<const Mamba>(), to_json(configuration));
  std::set<std::string> used;
  for (const SiteSpec& site : model.sites()) {
    const std::string name = site.name == kEmbeddingSite ? embedding : site.tensor_name;
    SiteWeight weight;
    weight.sparse = read_weight(file, name, site, configuration.wide ? at::kDouble : at::kFloat);
    model.set_weight(site.name, std::move(weight));
    used.insert(name);
  }
  check_head(file, embedding, used);
  require_no_others(file, used);
  refuse_overlaps(file);
  return model;
}

}  // namespace colonnade::mamba
