#include <algorithm>
#include <cmath>
#include <numbers>

#include "trainer.h"

namespace colonnade {

namespace {

template <typename T>
std::optional<T> optional_of(const Json& params, const char* name) {
  if (params.at(name).is_null()) return std::nullopt;
  return params.at(name).get<T>();
}

}  // namespace

TrainOptions TrainOptions::from_params(const Json& params) {
  TrainOptions options;
  options.steps = params.at("steps").get<std::int64_t>();
  options.batch = params.at("batch").get<std::int64_t>();
  options.length = params.at("length").get<std::int64_t>();
  options.accumulation = params.at("accumulation").get<std::int64_t>();
  options.learning_rate = params.at("learning_rate").get<double>();
  options.final_fraction = params.at("final_fraction").get<double>();
  options.warmup = params.at("warmup").get<std::int64_t>();
  options.schedule = params.at("schedule").get<std::string>();
  options.adamw = {params.at("beta1").get<double>(), params.at("beta2").get<double>(),
                   params.at("epsilon").get<double>(), params.at("weight_decay").get<double>()};
  options.clip = optional_of<double>(params, "clip");
  options.rescue = optional_of<double>(params, "rescue");
  options.evaluate_every = optional_of<std::int64_t>(params, "evaluate_every");
  options.early_stop = optional_of<std::int64_t>(params, "early_stop");
  options.evaluate_windows = params.at("evaluate_windows").get<std::int64_t>();
  options.log_every = params.at("log_every").get<std::int64_t>();
  options.recompute = params.at("recompute").get<bool>();
  options.precision = params.at("precision") == "bf16" ? Precision::bf16 : Precision::f32;
  return options;
}

double learning_rate_at(const TrainOptions& options, std::int64_t step) {
  if (step < options.warmup)
    return options.learning_rate * static_cast<double>(step + 1) / static_cast<double>(options.warmup);
  if (options.schedule == "constant") return options.learning_rate;
  const double span = static_cast<double>(std::max<std::int64_t>(1, options.steps - 1 - options.warmup));
  const double progress = std::min(1.0, static_cast<double>(step - options.warmup) / span);
  const double cosine = (1 + std::cos(std::numbers::pi * progress)) / 2;
  return options.learning_rate * (options.final_fraction + (1 - options.final_fraction) * cosine);
}

}  // namespace colonnade
