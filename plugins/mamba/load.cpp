#include "load.h"

#include <ATen/Functions.h>

#include <set>

#include "architecture.h"
#include "colonnade/error.h"
#include "colonnade/tensor/weight_files.h"
#include "published_config.h"

namespace colonnade::mamba {
namespace {

constexpr const char* kHubEmbedding = "backbone.embeddings.weight";
constexpr const char* kOriginalEmbedding = "backbone.embedding.weight";
constexpr const char* kHead = "lm_head.weight";

[[noreturn]] void refuse(const std::string& file, const std::string& reason) {
  throw Error(ErrorKind::input, file + ": " + reason);
}

Configuration read_sizes(const WeightFiles& file, const std::string& embedding) {
  Configuration c;
  c.vocabulary = file.shape(embedding, 2)[0];
  c.d_model = file.shape(embedding, 2)[1];
  c.layers = file.layers("backbone.layers.");
  const std::string mixer = layer_prefix(0) + "mixer.";
  const auto& a_log = file.shape(mixer + "A_log", 2);
  c.d_state = a_log[1];
  if (a_log[0] % c.d_model != 0) {
    refuse(file.path(), "tensor '" + mixer + "A_log' has " + std::to_string(a_log[0]) +
                            " channels, which is no multiple of d_model = " + std::to_string(c.d_model));
  }
  if (c.d_state > kMaxScanStates) {
    refuse(file.path(), "tensor '" + mixer + "A_log' has " + std::to_string(c.d_state) + " states, at most " +
                            std::to_string(kMaxScanStates) + " are possible");
  }
  c.expand = a_log[0] / c.d_model;
  c.conv_width = file.shape(mixer + "conv1d.weight", 3)[2];
  c.dt_rank = file.shape(mixer + "dt_proj.weight", 2)[1];
  c.use_bias = file.has(mixer + "in_proj.bias");
  c.conv_bias = file.has(mixer + "conv1d.bias");
  return c;
}

/// `source` says who expects it: a file's entry or a parameter.
void require_entry(const WeightFiles& file, const Json& found, const std::string& name, const Json& expected,
                   const std::string& source) {
  if (found.at(name) == expected) return;
  refuse(file.path(),
         "its tensors show " + name + " = " + found.at(name).dump() + ", but " + source + " says " + expected.dump());
}

void apply_expectations(const WeightFiles& file, const LoadRequest& request, Configuration& c) {
  const Json found = to_json(c);
  const std::string config = request.config.value_or(file.config());
  if (!config.empty()) {
    const PublishedConfig published = read_published_config(config);
    for (const PublishedEntry& entry : published.sizes) {
      require_entry(file, found, entry.name, entry.value, config + " ('" + entry.key + "')");
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

/// A stored head must be the embedding again.
void check_head(const WeightFiles& file, const std::string& embedding, std::set<std::string>& used) {
  if (!file.has(kHead)) return;
  if (file.tensors().at(kHead).type != file.tensors().at(embedding).type ||
      !at::equal(file.read(kHead), file.read(embedding))) {
    refuse(file.path(),
           std::string("tensor '") + kHead + "' differs from '" + embedding + "': only tied heads are supported");
  }
  used.insert(kHead);
}

}  // namespace

Model load_model(const LoadRequest& request) {
  const WeightFiles file(request.weights);
  const bool original = file.has(kOriginalEmbedding) && !file.has(kHubEmbedding);
  const std::string embedding = original ? kOriginalEmbedding : kHubEmbedding;
  Configuration configuration = read_sizes(file, embedding);
  apply_expectations(file, request, configuration);
  configuration.discretization = request.discretization;
  configuration.fused = request.fused;
  configuration.dtype = request.dtype ? *request.dtype : file.floating_type(embedding);

  Model model(std::make_shared<const Mamba>(), to_json(configuration));
  std::set<std::string> used;
  for (const SiteSpec& site : model.sites()) {
    const std::string name = site.name == kEmbeddingSite ? embedding : site.tensor_name;
    SiteWeight weight;
    weight.sparse = file.read_as(name, site.shape, scalar_type(configuration.dtype));
    model.set_weight(site.name, std::move(weight));
    used.insert(name);
  }
  check_head(file, embedding, used);
  file.require_no_others(used);
  return model;
}

}  // namespace colonnade::mamba
