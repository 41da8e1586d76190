#include "published_config.h"

#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>

#include "colonnade/error.h"
#include "colonnade/parse_json.h"
#include "configuration.h"

namespace colonnade::mamba {
namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw Error(ErrorKind::input, path + ": " + reason);
}

/// One config.json, read entry by entry.
class ConfigReader {
 public:
  ConfigReader(std::string path, const Json& document, std::string prefix = "")
      : path_(std::move(path)), document_(document), prefix_(std::move(prefix)) {}

  bool has(const std::string& key) const { return document_.contains(key) && !document_.at(key).is_null(); }

  void size(const std::string& key, const std::string& name, PublishedConfig& out) const {
    if (!has(key)) return;
    const Json& value = document_.at(key);
    if (!value.is_number_integer() || value < 1) refuse(path_, entry(key) + ", expected a whole number of at least 1");
    out.sizes.push_back({name, prefix_ + key, value.get<std::int64_t>()});
  }
  /// "auto" leaves the size to what the others say.
  void size_or_auto(const std::string& key, const std::string& name, PublishedConfig& out) const {
    if (has(key) && document_.at(key) != "auto") size(key, name, out);
  }
  void flag(const std::string& key, const std::string& name, PublishedConfig& out) const {
    if (!has(key)) return;
    const Json& value = document_.at(key);
    if (!value.is_boolean()) refuse(path_, entry(key) + ", expected true or false");
    out.sizes.push_back({name, prefix_ + key, value});
  }
  void require(const std::string& key, const Json& expected) const {
    if (has(key) && document_.at(key) != expected) {
      refuse(path_, entry(key) + ", only " + expected.dump() + " is supported");
    }
  }
  std::optional<double> positive(const std::string& key) const {
    if (!has(key)) return std::nullopt;
    const Json& value = document_.at(key);
    if (!value.is_number() || value <= 0) refuse(path_, entry(key) + ", expected a positive number");
    return value.get<double>();
  }

 private:
  std::string entry(const std::string& key) const { return "'" + prefix_ + key + "' is " + document_.at(key).dump(); }

  std::string path_;
  const Json& document_;
  std::string prefix_;
};

PublishedConfig read_hub(const std::string& path, const Json& document) {
  const ConfigReader reader(path, document);
  reader.require("model_type", "mamba");
  reader.require("hidden_act", "silu");
  reader.require("tie_word_embeddings", true);
  PublishedConfig out;
  reader.size("hidden_size", "d_model", out);
  reader.size("num_hidden_layers", "layers", out);
  reader.size("state_size", "d_state", out);
  reader.size("expand", "expand", out);
  reader.size("conv_kernel", "conv_width", out);
  reader.size_or_auto("time_step_rank", "dt_rank", out);
  reader.size("vocab_size", "vocabulary", out);
  reader.flag("use_bias", "use_bias", out);
  reader.flag("use_conv_bias", "conv_bias", out);
  out.norm_epsilon = reader.positive("layer_norm_epsilon");
  return out;
}

/// The authors pad the vocabulary to a multiple when they make the embedding: of 8, where nothing is said.
void pad_vocabulary(const Json& document, PublishedConfig& out) {
  constexpr int kUsualMultiple = 8;
  const Json multiple = document.value("pad_vocab_size_multiple", Json(kUsualMultiple));
  constexpr std::int64_t kMost = std::int64_t{1} << 31;  // more than any vocabulary
  if (!multiple.is_number_integer() || multiple < 1 || multiple > kMost) return;
  for (PublishedEntry& entry : out.sizes) {
    if (entry.name != "vocabulary") continue;
    const auto step = multiple.get<std::int64_t>();
    if (entry.value > kMost) return;
    entry.value = (entry.value.get<std::int64_t>() + step - 1) / step * step;
  }
}

PublishedConfig read_original(const std::string& path, const Json& document) {
  const ConfigReader reader(path, document);
  reader.require("rms_norm", true);
  reader.require("tie_embeddings", true);
  reader.require("attn_layer_idx", Json::array());
  reader.require("d_intermediate", 0);
  PublishedConfig out;
  reader.size("d_model", "d_model", out);
  reader.size("n_layer", "layers", out);
  reader.size("vocab_size", "vocabulary", out);
  pad_vocabulary(document, out);
  const Json inner = reader.has("ssm_cfg") ? document.at("ssm_cfg") : Json::object();
  if (!inner.is_object()) refuse(path, "'ssm_cfg' is " + inner.dump() + ", expected an object");
  const ConfigReader scan(path, inner, "ssm_cfg.");
  scan.require("layer", "Mamba1");
  scan.size("d_state", "d_state", out);
  scan.size("d_conv", "conv_width", out);
  scan.size("expand", "expand", out);
  scan.size_or_auto("dt_rank", "dt_rank", out);
  scan.flag("bias", "use_bias", out);
  scan.flag("conv_bias", "conv_bias", out);
  return out;
}

}  // namespace

PublishedConfig read_published_config(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) refuse(path, "cannot be opened");
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const Json document = parse_json(text, path);
  if (!document.is_object()) refuse(path, "is not a JSON object");
  // What was converted for the hub keeps the authors' entries beside its own.
  const bool hub = document.contains("hidden_size") || document.contains("model_type");
  if (!hub && document.contains("n_layer") && document.contains("d_model")) return read_original(path, document);
  return read_hub(path, document);
}

}  // namespace colonnade::mamba
