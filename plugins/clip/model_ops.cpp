// The ops that make CLIP models.
#include "colonnade/colonnade.h"
#include "initialise.h"
#include "load.h"
#include "ops.h"

namespace colonnade::clip {
namespace {

Value model_value(const Model& model) {
  Value value;
  value.fields.emplace("model", model.to_field());
  return value;
}

Tower tower_of_params(const OpContext& context, const std::string& prefix) {
  Tower tower;
  tower.width = context.param<std::int64_t>(prefix + "width");
  tower.layers = context.param<std::int64_t>(prefix + "layers");
  tower.heads = context.param<std::int64_t>(prefix + "heads");
  constexpr std::int64_t kHiddenPerWidth = 4;
  tower.hidden = kHiddenPerWidth * tower.width;
  if (context.has_param(prefix + "hidden")) tower.hidden = context.param<std::int64_t>(prefix + "hidden");
  tower.activation = parse_activation(context.param<std::string>("activation"));
  tower.norm_epsilon = context.param<double>("norm_epsilon");
  return tower;
}

Value make(OpContext& context) {
  Configuration c;
  c.text = tower_of_params(context, "text_");
  c.vision = tower_of_params(context, "vision_");
  c.vocabulary = context.param<std::int64_t>("vocabulary");
  c.length = context.param<std::int64_t>("length");
  c.end_token = context.has_param("end_token") ? context.param<std::int64_t>("end_token") : c.vocabulary - 1;
  c.picture = context.param<std::int64_t>("picture");
  c.patch = context.param<std::int64_t>("patch");
  c.dimensions = context.param<std::int64_t>("dimensions");
  c.wide = context.param<std::string>("dtype") == "f64";
  check(c);
  return model_value(initialise(c, context.random()));
}

Value load(OpContext& context) {
  LoadRequest request;
  request.weights = context.param<std::string>("path");
  if (context.has_param("config")) request.config = context.param<std::string>("config");
  if (context.has_param("activation")) request.activation = parse_activation(context.param<std::string>("activation"));
  const auto number = [&](const char* name, std::optional<std::int64_t>& to) {
    if (context.has_param(name)) to = context.param<std::int64_t>(name);
  };
  number("text_heads", request.text_heads);
  number("vision_heads", request.vision_heads);
  number("end_token", request.end_token);
  request.wide = context.param<std::string>("dtype") == "f64";
  return model_value(load_model(request));
}

Param size_param(const std::string& name, const std::string& doc) {
  return integer(name, doc).range(1, std::nullopt);
}

void declare_tower(OpDeclaration& op, const std::string& name) {
  const std::string of = " of the " + name + " tower";
  constexpr std::int64_t kWidth = 64, kLayers = 3, kHeads = 4;
  op.param(size_param(name + "_width", "width of the residual stream" + of).fall_back(kWidth))
      .param(size_param(name + "_layers", "layers" + of).fall_back(kLayers))
      .param(size_param(name + "_heads", "heads of each layer" + of).fall_back(kHeads))
      .param(size_param(name + "_hidden", "hidden units of each MLP" + of + "; by default four times its width")
                 .optional());
}

void declare_make(Registrar& registrar) {
  OpDeclaration& op = registrar.op("clip");
  op.doc(
        "Makes a fresh CLIP model of pictures and texts.\n"
        "A vision transformer and a causal text transformer whose pooled outputs are projected into one space; the "
        "logits are exp(logit_scale) times the cosines. After Radford et al., Learning Transferable Visual Models From "
        "Natural Language Supervision, 2021, and initialised as their text transformer: normal with deviation "
        "width^-1/2, what writes to the residual stream divided by the root of twice the layers, temperature 0.07.")
      .example("local base = col.clip { picture = 32, patch = 4, vocabulary = 1500 }  -- the tokenizer's size")
      .random()
      .output("model", "model", "the model, every weight trainable");
  declare_tower(op, "vision");
  declare_tower(op, "text");
  constexpr std::int64_t kPicture = 32, kPatch = 8, kVocabulary = 1024, kLength = 32, kDimensions = 64;
  op.param(size_param("picture", "side of a picture").in("pixels").fall_back(kPicture))
      .param(size_param("patch", "side of a patch, which must divide that of a picture").in("pixels").fall_back(kPatch))
      .param(size_param("vocabulary", "number of token ids").fall_back(kVocabulary))
      .param(size_param("length", "most tokens of a text").fall_back(kLength))
      .param(integer("end_token", "the id at which a text is read off; by default the last of the vocabulary")
                 .range(0, std::nullopt)
                 .optional())
      .param(size_param("dimensions", "of the common space").fall_back(kDimensions))
      .param(choice("activation", {"quick_gelu", "gelu"}, "x sigmoid(1.702 x), or x times the normal distribution")
                 .fall_back("quick_gelu"))
      .param(real("norm_epsilon", "added to the variance in the norms").above(0).fall_back(1e-5))
      .param(choice("dtype", {"f32", "f64"}, "floating type of weights and computation").fall_back("f32"))
      .bytes(
          "4 * vocabulary * text_width + 48 * (text_layers * text_width * text_width + "
          "vision_layers * vision_width * vision_width)")
      .run(make);
}

void declare_load(Registrar& registrar) {
  registrar.op("load")
      .doc(
          "Loads the published weights of a CLIP model.\n"
          "Reads Hugging Face's layout (text_model..., vision_model...) and the authors' (transformer..., visual...). "
          "Sizes are read off the tensors; config.json of Hugging Face's kind is checked against them, so that a "
          "mismatch is an error and never another model. Without one heads have 64 values, the activation is "
          "quick_gelu, and a text is read off at its highest token id, as with the published weights; beware of "
          "weights that were trained with gelu. Half-precision weights are widened.")
      .example("local base = col.op \"clip/load\" { path = col.setting(\"clip.path\") }")
      .output("model", "model", "the model, every weight trainable")
      .param(path("path",
                  "weights as published: safetensors or pytorch_model.bin, or the folder of these, of shards with "
                  "their index, of config.json"))
      .param(path("config", "config.json where it does not lie in that folder").optional())
      .param(choice("activation", {"quick_gelu", "gelu"}, "instead of what config.json says").optional())
      .param(size_param("vision_heads", "heads of the vision tower, where config.json does not say").optional())
      .param(size_param("text_heads", "heads of the text tower, where config.json does not say").optional())
      .param(integer("end_token", "the id at which a text is read off, instead of what config.json says")
                 .range(0, std::nullopt)
                 .optional())
      .param(choice("dtype", {"f32", "f64"}, "floating type of weights and computation").fall_back("f32"))
      .run(load);
}

}  // namespace

void declare_models(Registrar& registrar) {
  declare_make(registrar);
  declare_load(registrar);
}

}  // namespace colonnade::clip
