#include "budget.h"

#include <ATen/Functions.h>

#include <cmath>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr const char* type_id = "mask/budget@1";

class Budget final : public Hook {
 public:
  Budget(BudgetOptions options, Tensor state) : options_(options) { tensors_["state"] = std::move(state); }

  std::string type() const override { return type_id; }
  Json configuration() const override {
    return {{"target_sparsity", options_.target_sparsity},
            {"penalty", options_.penalty == PenaltyRule::lagrangian ? "lagrangian" : "fixed"},
            {"sparsity_weight", options_.sparsity_weight},
            {"multiplier_rate", options_.multiplier_rate},
            {"threshold", options_.threshold == ThresholdRule::budget ? "budget" : "zero"}};
  }
  NamedTensors& tensors() override { return tensors_; }
  std::unique_ptr<Hook> clone() const override { return std::make_unique<Budget>(*this); }

  void before_training(TrainingStep& step) override { settle(step.model); }

  Tensor penalty(const Model& model, const StepInfo&) const override {
    Tensor kept;
    double all = 0;
    for (MaskAdapter* mask : masks_of(model)) {
      Tensor weights = mask->governed();
      all += weights.sum().item<double>();
      Tensor term = (at::sigmoid(mask->logits()) * weights.to(mask->logits().scalar_type())).sum();
      kept = kept.defined() ? kept + term : term;
    }
    if (!kept.defined() || all == 0) return {};
    return (1 - kept / all - options_.target_sparsity).abs() * weight();
  }

  void after_step(TrainingStep& step) override {
    const double soft = settle(step.model);
    if (options_.penalty == PenaltyRule::fixed) return;
    set(multiplier, value(multiplier) + options_.multiplier_rate * std::abs(soft - options_.target_sparsity));
  }

  std::map<std::string, double> metrics() const override {
    return {{"soft_sparsity", value(soft_share)}, {"sparsity", value(hard_share)}, {"multiplier", weight()}};
  }

 private:
  enum Slot : std::int64_t { multiplier, soft_share, hard_share };

  double value(Slot slot) const { return tensors_.at("state").const_data_ptr<double>()[slot]; }
  void set(Slot slot, double number) { tensors_.at("state").data_ptr<double>()[slot] = number; }
  double weight() const {
    return options_.penalty == PenaltyRule::fixed ? options_.sparsity_weight : value(multiplier);
  }

  double settle(const Model& model) {
    const auto masks = masks_of(model);
    decide(masks, options_.threshold, options_.target_sparsity);
    set(soft_share, soft_sparsity(masks));
    set(hard_share, hard_sparsity(masks));
    return value(soft_share);
  }

  BudgetOptions options_;
  NamedTensors tensors_;
};

std::unique_ptr<Hook> load(const Json& configuration, const NamedTensors& stored) {
  const auto found = stored.find("state");
  constexpr std::int64_t slots = 3;
  if (found == stored.end() || found->second.numel() != slots || found->second.scalar_type() != at::kDouble) {
    throw Error(ErrorKind::input, "the mask budget's state is missing or damaged");
  }
  BudgetOptions options;
  options.target_sparsity = configuration.at("target_sparsity").get<double>();
  options.penalty = configuration.at("penalty") == "lagrangian" ? PenaltyRule::lagrangian : PenaltyRule::fixed;
  options.sparsity_weight = configuration.at("sparsity_weight").get<double>();
  options.multiplier_rate = configuration.at("multiplier_rate").get<double>();
  options.threshold = configuration.at("threshold") == "budget" ? ThresholdRule::budget : ThresholdRule::zero;
  return std::make_unique<Budget>(options, found->second.cpu());
}

}  // namespace

std::shared_ptr<Hook> make_budget(const BudgetOptions& options) {
  constexpr std::int64_t slots = 3;
  return std::make_shared<Budget>(options, at::zeros({slots}, at::TensorOptions().dtype(at::kDouble)));
}

HookType budget_type() {
  return {type_id, load};
}

}  // namespace colonnade
