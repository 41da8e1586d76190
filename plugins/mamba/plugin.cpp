// The ops of the mamba plugin.
#include <algorithm>
#include <iterator>

#include "architecture.h"
#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "initialise.h"
#include "load.h"

namespace colonnade::mamba {
namespace {

/// A size that `mamba` sets and `mamba/load` may check. Beyond `largest` there is no memory for it, and products of
/// sizes could leave 64 bits.
struct Size {
  const char* name;
  std::int64_t largest;
};

constexpr std::int64_t kLargestWidth = std::int64_t{1} << 20;
constexpr Size kSizes[] = {
    {"d_model", kLargestWidth}, {"layers", 1 << 14},        {"d_state", kMaxScanStates},          {"expand", 1 << 10},
    {"conv_width", 1 << 12},    {"dt_rank", kLargestWidth}, {"vocabulary", std::int64_t{1} << 30}};

Value model_value(const Model& model) {
  Value value;
  value.fields.emplace("model", model.to_field());
  return value;
}

Value make(OpContext& context) {
  Configuration c;
  c.d_model = context.param<std::int64_t>("d_model");
  c.layers = context.param<std::int64_t>("layers");
  c.d_state = context.param<std::int64_t>("d_state");
  c.expand = context.param<std::int64_t>("expand");
  c.conv_width = context.param<std::int64_t>("conv_width");
  c.dt_rank = context.has_param("dt_rank") ? context.param<std::int64_t>("dt_rank") : default_dt_rank(c.d_model);
  c.vocabulary = context.param<std::int64_t>("vocabulary");
  c.use_bias = context.param<bool>("use_bias");
  c.conv_bias = context.param<bool>("conv_bias");
  c.norm_epsilon = context.param<double>("norm_epsilon");
  c.discretization = parse_discretization(context.param<std::string>("discretization"));
  c.fused = context.param<std::string>("kernel") == "fused";
  c.dtype = dtype_from_name(context.param<std::string>("dtype"));
  return model_value(initialise(c, context.random()));
}

/// Nothing for "stored".
std::optional<DType> loaded_dtype(const std::string& word) {
  if (word == "stored") return std::nullopt;
  return dtype_from_name(word);
}

Value load(OpContext& context) {
  LoadRequest request;
  request.weights = context.param<std::string>("path");
  if (context.has_param("config")) request.config = context.param<std::string>("config");
  for (const Size& size : kSizes) {
    if (context.has_param(size.name)) request.expected[size.name] = context.params().at(size.name);
  }
  if (context.has_param("norm_epsilon")) request.expected["norm_epsilon"] = context.params().at("norm_epsilon");
  request.discretization = parse_discretization(context.param<std::string>("discretization"));
  request.fused = context.param<std::string>("kernel") == "fused";
  request.dtype = loaded_dtype(context.param<std::string>("dtype"));
  return model_value(load_model(request));
}

Param size_param(const std::string& name, const std::string& doc) {
  const auto size = std::find_if(std::begin(kSizes), std::end(kSizes), [&](const Size& s) { return s.name == name; });
  return integer(name, doc).range(1, static_cast<double>(size->largest));
}

void declare_computation(OpDeclaration& op) {
  op.param(choice("discretization", {"mamba", "zoh"},
                  "how the input is discretised: delta B, or the exact zero-order hold (exp(delta A) - 1)/A B")
               .fall_back("mamba"))
      .param(choice("kernel", {"fused", "reference"}, "the scan's own kernels, or the loop over time in tensor ops")
                 .fall_back("fused"));
}

void declare_mamba(Registrar& registrar) {
  OpDeclaration& op = registrar.op("mamba");
  op.doc(
        "Makes a fresh Mamba language model.\n"
        "Selective state-space blocks after Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State "
        "Spaces, 2023: "
        "h = exp(delta A) h + delta B x, y = (C h + D x) silu(z), with delta, B and C read off the input, RMS "
        "normalisation and a "
        "head tied to the embedding. Initialised as published: embedding normal with deviation 0.02, A = "
        "-(1..d_state), D = 1, "
        "steps log-uniform in [0.001, 0.1], out_proj divided by the root of the number of layers.")
      .example("local base = col.mamba { d_model = 128, layers = 4 }")
      .random()
      .output("model", "model", "the model, every weight trainable")
      .param(size_param("d_model", "width of the residual stream").fall_back(256).searched(Search::log))
      .param(size_param("layers", "number of blocks").fall_back(4).searched(Search::linear))
      .param(size_param("d_state", "states of a channel").fall_back(16).searched(Search::log))
      .param(size_param("expand", "channels of a block, in units of d_model").fall_back(2))
      .param(size_param("conv_width", "taps of the causal convolution").fall_back(4))
      .param(size_param("dt_rank", "rank of the step's projection; by default d_model/16, rounded up").optional())
      .param(size_param("vocabulary", "number of token ids").fall_back(256))
      .param(boolean("use_bias", "biases on in_proj and out_proj").fall_back(false))
      .param(boolean("conv_bias", "a bias on the convolution").fall_back(true))
      .param(real("norm_epsilon", "added to the mean square in the norms").above(0).fall_back(1e-5));
  declare_computation(op);
  op.param(choice("dtype", {"f32", "f64"}, "floating type of weights and computation").fall_back("f32"));
  op.bytes("4 * (vocabulary * d_model + layers * expand * d_model * (3 * d_model + 3 * d_state))").run(make);
}

void declare_load(Registrar& registrar) {
  OpDeclaration& op = registrar.op("load");
  op.doc(
        "Loads the published weights of a Mamba language model.\n"
        "Reads the Hugging Face layout (backbone.embeddings) and the authors' own (backbone.embedding). Sizes are read "
        "off the "
        "tensors; config.json and the sizes given here are checked against them, so that a mismatch is an error and "
        "never another "
        "model. Weights of any floating type are converted to `dtype`; one that is not finite, or not in that type, is "
        "an error that names file and tensor.")
      .example("local base = col.op \"mamba/load\" { path = col.setting(\"mamba.path\") }")
      .output("model", "model", "the model, every weight trainable")
      .param(path("path",
                  "weights as published: safetensors or pytorch_model.bin, or the folder of these, of shards with "
                  "their index, of config.json"))
      .param(path("config", "config.json where it does not lie in that folder").optional());
  for (const Size& size : kSizes) {
    const std::string doc = std::string("the ") + size.name + " that the weights must have; by default any";
    op.param(size_param(size.name, doc).optional());
  }
  op.param(real("norm_epsilon", "added to the mean square in the norms; by default what config.json says, else 1e-5")
               .above(0)
               .optional());
  declare_computation(op);
  op.param(choice("dtype", {"f32", "f64", "bf16", "f16", "stored"},
                  "floating type in which weights are kept; stored: the embedding's in the file. f64 is computed in "
                  "f64, all else in f32. A model in bf16 or f16 can be read only: scored, generated from, exported")
               .fall_back("f32"));
  op.run(load);
}

void register_plugin(Registrar& registrar) {
  register_architecture(registrar, std::make_shared<const Mamba>());
  declare_mamba(registrar);
  declare_load(registrar);
}

}  // namespace
}  // namespace colonnade::mamba

COLONNADE_PLUGIN(colonnade::mamba::register_plugin);
