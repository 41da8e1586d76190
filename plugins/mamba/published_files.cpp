// What Hugging Face's transformers reads of a Mamba model beside its weights.
#include "architecture.h"
#include "colonnade/error.h"

namespace colonnade::mamba {

namespace {

const char* torch_name(DType type) {
  if (type == DType::f64) return "float64";
  if (type == DType::bf16) return "bfloat16";
  return type == DType::f16 ? "float16" : "float32";
}

}  // namespace

std::map<std::string, Json> Mamba::published_files(const Json& document) const {
  const Configuration c = configuration_from(document);
  if (c.discretization != Discretization::mamba) {
    throw Error(ErrorKind::input, "the model's scan is discretised as '" +
                                      std::string(discretization_name(c.discretization)) +
                                      "', and transformers knows 'mamba' only: it cannot be written in Hugging Face's "
                                      "layout");
  }
  const Json config = {{"architectures", {"MambaForCausalLM"}},
                       {"model_type", "mamba"},
                       {"hidden_size", c.d_model},
                       {"intermediate_size", c.d_inner()},
                       {"num_hidden_layers", c.layers},
                       {"state_size", c.d_state},
                       {"expand", c.expand},
                       {"conv_kernel", c.conv_width},
                       {"time_step_rank", c.dt_rank},
                       {"vocab_size", c.vocabulary},
                       {"use_bias", c.use_bias},
                       {"use_conv_bias", c.conv_bias},
                       {"layer_norm_epsilon", c.norm_epsilon},
                       {"hidden_act", "silu"},
                       {"residual_in_fp32", true},
                       {"tie_word_embeddings", true},
                       {"torch_dtype", torch_name(c.dtype)}};
  return {{"config.json", config}};
}

}  // namespace colonnade::mamba
