#include "configuration.h"

#include "colonnade/error.h"

namespace colonnade::clip {
namespace {

constexpr std::int64_t kChannels = 3;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::input, "a CLIP model cannot be of this size: " + what);
}

Json tower_json(const Tower& tower) {
  return {{"width", tower.width},
          {"layers", tower.layers},
          {"heads", tower.heads},
          {"hidden", tower.hidden},
          {"activation", activation_name(tower.activation)},
          {"norm_epsilon", tower.norm_epsilon}};
}

Tower tower_from(const Json& document) {
  Tower tower;
  document.at("width").get_to(tower.width);
  document.at("layers").get_to(tower.layers);
  document.at("heads").get_to(tower.heads);
  document.at("hidden").get_to(tower.hidden);
  tower.activation = parse_activation(document.at("activation").get<std::string>());
  document.at("norm_epsilon").get_to(tower.norm_epsilon);
  return tower;
}

void check_tower(const Tower& tower, const std::string& name) {
  for (const auto& [what, size] :
       {std::pair{"width", tower.width}, {"layers", tower.layers}, {"heads", tower.heads}, {"hidden", tower.hidden}}) {
    if (size < 1) refuse("the " + name + " tower has " + what + " = " + std::to_string(size) + ", allowed: at least 1");
  }
  if (tower.width % tower.heads != 0) {
    refuse("the " + name + " tower's width of " + std::to_string(tower.width) + " is no multiple of its " +
           std::to_string(tower.heads) + " heads");
  }
}

}  // namespace

const char* activation_name(Activation activation) {
  return activation == Activation::gelu ? "gelu" : "quick_gelu";
}

Activation parse_activation(const std::string& name) {
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "gelu") return Activation::gelu;
  throw Error(ErrorKind::input, "the activation '" + name + "' is not known; allowed: 'quick_gelu', 'gelu'" +
                                    did_you_mean(name, {"quick_gelu", "gelu"}));
}

std::int64_t Configuration::patch_values() const {
  return kChannels * patch * patch;
}

void check(const Configuration& c) {
  check_tower(c.text, "text");
  check_tower(c.vision, "vision");
  for (const auto& [what, size] : {std::pair{"vocabulary", c.vocabulary},
                                   {"length", c.length},
                                   {"picture", c.picture},
                                   {"patch", c.patch},
                                   {"dimensions", c.dimensions}}) {
    if (size < 1) refuse(std::string(what) + " = " + std::to_string(size) + ", allowed: at least 1");
  }
  if (c.picture % c.patch != 0) {
    refuse("pictures of " + std::to_string(c.picture) + " pixels a side are no whole number of patches of " +
           std::to_string(c.patch));
  }
  if (c.end_token < 0 || c.end_token >= c.vocabulary) {
    refuse("the end token " + std::to_string(c.end_token) + " is outside the vocabulary of " +
           std::to_string(c.vocabulary));
  }
}

Json to_json(const Configuration& c) {
  return {{"text", tower_json(c.text)},
          {"vocabulary", c.vocabulary},
          {"length", c.length},
          {"end_token", c.end_token},
          {"pooling", c.pooling == Pooling::highest_id ? "highest_id" : "end_token"},
          {"vision", tower_json(c.vision)},
          {"picture", c.picture},
          {"patch", c.patch},
          {"dimensions", c.dimensions},
          {"dtype", c.wide ? "f64" : "f32"}};
}

Configuration configuration_from(const Json& document) {
  Configuration c;
  try {
    c.text = tower_from(document.at("text"));
    document.at("vocabulary").get_to(c.vocabulary);
    document.at("length").get_to(c.length);
    document.at("end_token").get_to(c.end_token);
    c.pooling = document.at("pooling").get<std::string>() == "highest_id" ? Pooling::highest_id : Pooling::end_token;
    c.vision = tower_from(document.at("vision"));
    document.at("picture").get_to(c.picture);
    document.at("patch").get_to(c.patch);
    document.at("dimensions").get_to(c.dimensions);
    c.wide = document.at("dtype").get<std::string>() == "f64";
  } catch (const Json::exception& problem) {
    throw Error(ErrorKind::input, std::string("the configuration of a CLIP model cannot be read: ") + problem.what());
  }
  check(c);
  return c;
}

}  // namespace colonnade::clip
