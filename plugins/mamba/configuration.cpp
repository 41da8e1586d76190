#include "configuration.h"

#include "colonnade/error.h"

namespace colonnade::mamba {

std::int64_t default_dt_rank(std::int64_t d_model) {
  constexpr std::int64_t kModelPerRank = 16;
  return (d_model + kModelPerRank - 1) / kModelPerRank;
}

Json to_json(const Configuration& configuration) {
  return {{"d_model", configuration.d_model},
          {"layers", configuration.layers},
          {"d_state", configuration.d_state},
          {"expand", configuration.expand},
          {"conv_width", configuration.conv_width},
          {"dt_rank", configuration.dt_rank},
          {"vocabulary", configuration.vocabulary},
          {"use_bias", configuration.use_bias},
          {"conv_bias", configuration.conv_bias},
          {"norm_epsilon", configuration.norm_epsilon},
          {"discretization", discretization_name(configuration.discretization)},
          {"kernel", configuration.fused ? "fused" : "reference"},
          {"dtype", dtype_name(configuration.dtype)}};
}

Configuration configuration_from(const Json& document) {
  try {
    Configuration result;
    document.at("d_model").get_to(result.d_model);
    document.at("layers").get_to(result.layers);
    document.at("d_state").get_to(result.d_state);
    document.at("expand").get_to(result.expand);
    document.at("conv_width").get_to(result.conv_width);
    document.at("dt_rank").get_to(result.dt_rank);
    document.at("vocabulary").get_to(result.vocabulary);
    document.at("use_bias").get_to(result.use_bias);
    document.at("conv_bias").get_to(result.conv_bias);
    document.at("norm_epsilon").get_to(result.norm_epsilon);
    result.discretization = parse_discretization(document.at("discretization").get_ref<const std::string&>());
    result.fused = document.at("kernel").get_ref<const std::string&>() == "fused";
    result.dtype = dtype_from_name(document.at("dtype").get_ref<const std::string&>());
    return result;
  } catch (const Json::exception& problem) {
    throw Error(ErrorKind::input, std::string("the configuration of a Mamba model cannot be read: ") + problem.what());
  }
}

}  // namespace colonnade::mamba
