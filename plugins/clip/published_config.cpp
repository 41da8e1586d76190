#include "published_config.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "colonnade/error.h"
#include "colonnade/parse_json.h"

namespace colonnade::clip {
namespace {

class Reader {
 public:
  Reader(const std::string& path, const Json& document, std::string prefix)
      : path_(path), document_(document), prefix_(std::move(prefix)) {}

  std::optional<std::int64_t> whole(const char* key) const {
    const Json* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (!found->is_number_integer() || *found < 0) refuse(key, *found, "a whole number");
    return found->get<std::int64_t>();
  }
  std::optional<double> positive(const char* key) const {
    const Json* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (!found->is_number() || !(found->get<double>() > 0)) refuse(key, *found, "a number above 0");
    return found->get<double>();
  }
  std::optional<Activation> activation(const char* key) const {
    const Json* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (*found != "quick_gelu" && *found != "gelu") refuse(key, *found, "\"quick_gelu\" or \"gelu\"");
    return parse_activation(found->get<std::string>());
  }
  std::string name(const char* key) const { return prefix_ + key; }
  [[noreturn]] void refuse(const std::string& key, const Json& value, const std::string& expected) const {
    throw Error(ErrorKind::input, path_ + ": '" + prefix_ + key + "' is " + value.dump() + ", expected " + expected);
  }

 private:
  const Json* find(const char* key) const {
    const auto found = document_.find(key);
    return found == document_.end() || found->is_null() ? nullptr : &*found;
  }

  const std::string& path_;
  const Json& document_;
  std::string prefix_;
};

Json read_document(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw Error(ErrorKind::input, path + ": cannot be opened: " + std::strerror(errno));
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  Json document = parse_json(text, path);
  if (!document.is_object()) throw Error(ErrorKind::input, path + ": not a JSON object");
  return document;
}

const Json& part(const std::string& path, const Json& document, const char* name) {
  static const Json none = Json::object();
  const auto found = document.find(name);
  if (found == document.end() || found->is_null()) return none;
  if (!found->is_object()) throw Error(ErrorKind::input, path + ": '" + name + "' is not an object");
  return *found;
}

}  // namespace

PublishedConfig read_published_config(const std::string& path) {
  const Json document = read_document(path);
  const Reader whole(path, document, "");
  if (const auto type = document.find("model_type"); type != document.end() && *type != "clip") {
    whole.refuse("model_type", *type, "\"clip\"");
  }
  const Reader text(path, part(path, document, "text_config"), "text_config.");
  const Reader vision(path, part(path, document, "vision_config"), "vision_config.");
  PublishedConfig result;
  const auto size = [&](const Reader& reader, const char* key, const char* name) {
    if (const auto value = reader.whole(key)) result.sizes.push_back({reader.name(key), name, *value});
  };
  size(whole, "projection_dim", "dimensions");
  for (const auto& [reader, tower] : {std::pair{&text, "text"}, {&vision, "vision"}}) {
    size(*reader, "hidden_size", (std::string(tower) + ".width").c_str());
    size(*reader, "intermediate_size", (std::string(tower) + ".hidden").c_str());
    size(*reader, "num_hidden_layers", (std::string(tower) + ".layers").c_str());
  }
  size(text, "vocab_size", "vocabulary");
  size(text, "max_position_embeddings", "length");
  size(vision, "image_size", "picture");
  size(vision, "patch_size", "patch");
  if (const auto channels = vision.whole("num_channels"); channels.value_or(3) != 3) {
    vision.refuse("num_channels", *channels, "3");
  }
  result.text_heads = text.whole("num_attention_heads");
  result.vision_heads = vision.whole("num_attention_heads");
  result.end_token = text.whole("eos_token_id");
  result.text_activation = text.activation("hidden_act");
  result.vision_activation = vision.activation("hidden_act");
  result.text_epsilon = text.positive("layer_norm_eps");
  result.vision_epsilon = vision.positive("layer_norm_eps");
  return result;
}

}  // namespace colonnade::clip
