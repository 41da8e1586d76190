#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "adamw.h"
#include "colonnade/error.h"
#include "colonnade/op.h"
#include "colonnade/tensor/model.h"
#include "training_data.h"

namespace colonnade {

enum class Precision { f32, bf16 };

struct TrainOptions {
  std::int64_t steps = 0, batch = 16, length = 256, accumulation = 1;
  double learning_rate = 1e-4, final_fraction = 0.1;
  std::int64_t warmup = 0;
  std::string schedule = "cosine";
  AdamWOptions adamw;
  std::optional<double> clip, rescue;
  std::optional<std::int64_t> evaluate_every, early_stop;
  std::int64_t evaluate_windows = 32;
  Precision precision = Precision::f32;
  std::int64_t log_every = 50;
  bool recompute = false;

  static TrainOptions from_params(const Json& params);
};

// Linear warm-up to `learning_rate`, then constant or a half cosine down to final_fraction of it at the last step.
// Steps count from 0.
double learning_rate_at(const TrainOptions& options, std::int64_t step);

// One training from beginning to end, resumable at every step. Owns a writable copy of the model.
class Trainer {
 public:
  Trainer(Model model, TrainingData data, std::optional<TrainingData> valid, TrainOptions options, RandomStream random);

  void restore(const Value& checkpoint);
  Value checkpoint() const;
  // Runs to the end, telling progress to and saving checkpoints in `context`.
  void run(OpContext& context);
  Value result() const;

 private:
  // On a card nothing is read before the whole step has been handed to it: what is needed of the step's numbers waits
  // there till then.
  struct StepLosses {
    double cross_entropy = 0, penalty = 0;
    std::vector<Tensor> cross_entropies, penalties;  // on the card, of each part
    Tensor norms;                                    // on the card, of each gradient there is
  };
  Batch training_batch(std::int64_t index) const;
  // The loss of one of a step's batches, divided by their number, on the tape; its parts are added to `losses`.
  Tensor part_loss(std::int64_t part, const StepInfo& info, StepLosses& losses) const;
  StepLosses accumulate(std::vector<Parameter>& parameters, std::vector<Tensor>& gradients, const StepInfo& info);
  void condition(const std::vector<Parameter>& parameters, std::vector<Tensor>& gradients);  // rescue, clip
  void condition_on_card(std::vector<Tensor>& gradients, StepLosses& losses);
  void read(StepLosses& losses, const std::vector<Parameter>& parameters, const std::vector<Tensor>& gradients);
  void take_step(OpContext& context);
  bool evaluation_due() const;
  void evaluate();
  bool stopped_early() const;
  // By name; where several hooks, or the curve itself, have one name, numbers are added.
  std::map<std::string, double> hook_metrics() const;
  void report(OpContext& context, const StepLosses& losses, double learning_rate, bool evaluated);
  std::string details(const std::map<std::string, double>& of_hooks) const;  // what a log line says after the losses
  Error not_finite(const std::string& what, std::int64_t step) const;
  TrainingStep training_step(const StepInfo& info);

  Model model_;
  TrainingData data_;
  std::optional<TrainingData> valid_;
  TrainOptions options_;
  RandomStream random_;
  ParameterState optimizer_;
  Table curve_;
  std::int64_t step_ = 0;
  std::int64_t rescued_ = 0;
  std::optional<double> last_valid_, best_valid_;
  std::int64_t best_step_ = 0, evaluations_since_best_ = 0;
  double trainable_percent_ = 0;
  bool prepared_ = false;  // hooks have seen before_training
};

}  // namespace colonnade
