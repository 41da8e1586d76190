#include "trainer.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstdio>
#include <set>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr double vanishing_norm = 1e-7;  // below it a gradient counts as vanished
constexpr const char* loss_unit = "nats";

double norm_of(const Tensor& tensor) {
  return tensor.to(at::kDouble).norm().item<double>();
}

void store_state(Field& field, const std::string& prefix, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) field.tensors.emplace(prefix + name, to_blob(tensor.clone()));
}

std::optional<double> optional_number(const Json& document, const char* name) {
  if (document.at(name).is_null()) return std::nullopt;
  return document.at(name).get<double>();
}

double percent_of(std::int64_t part, std::int64_t whole) {
  constexpr double percent = 100;
  return whole > 0 ? percent * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// While it lives, products on the card are computed in the precision asked for.
class ProductsIn {
 public:
  explicit ProductsIn(Precision precision) : active_(precision == Precision::bf16) {
    if (!active_) return;
    at::autocast::set_autocast_dtype(at::kCUDA, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCUDA, true);
    at::autocast::increment_nesting();
  }
  ~ProductsIn() {
    if (!active_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCUDA, false);
  }
  ProductsIn(const ProductsIn&) = delete;
  ProductsIn& operator=(const ProductsIn&) = delete;

 private:
  const bool active_;
};

std::string step_line(std::int64_t step, double loss, double cross_entropy, double penalty, double learning_rate) {
  char line[160];
  std::snprintf(line, sizeof line, "Step %lld | Loss: %.4f (CE: %.4f, Reg: %.6f) | LR: %.6f",
                static_cast<long long>(step), loss, cross_entropy, penalty, learning_rate);
  return line;
}

std::string labelled(const std::string& name, double value) {
  char number[32];
  std::snprintf(number, sizeof number, "%.6g", value);
  return " | " + name + ": " + number;
}

Json number_or_null(const std::optional<double>& number) {
  return number ? Json(*number) : Json();
}

}  // namespace

Trainer::Trainer(Model model, TrainingData data, std::optional<TrainingData> valid, TrainOptions options,
                 RandomStream random)
    : model_(std::move(model)),
      data_(std::move(data)),
      valid_(std::move(valid)),
      options_(std::move(options)),
      random_(random) {
  curve_.add_column("step", "integer");
  for (const char* name : {"loss", "ce", "reg"}) curve_.add_column(name, "real", loss_unit);
  curve_.add_column("learning_rate", "real");
  curve_.add_column("valid_nats", "real", loss_unit);
  for (const auto& [name, value] : hook_metrics()) curve_.add_column(name, "real");
}

Batch Trainer::training_batch(std::int64_t index) const {
  return data_.batch(random_.at("windows"), index, options_.batch, options_.length, model_.dtype());
}

TrainingStep Trainer::training_step(const StepInfo& info) {
  return {model_, optimizer_, info, [this](std::int64_t index) { return training_batch(index); }};
}

Error Trainer::not_finite(const std::string& what, std::int64_t step) const {
  return Error(ErrorKind::op,
               what + " is not finite at step " + std::to_string(step) + " of " + std::to_string(options_.steps) +
                   "; a smaller learning_rate, a longer warmup or clip may help, if the weights hold no NaN");
}

Tensor Trainer::part_loss(std::int64_t part, const StepInfo& info, StepLosses& losses) const {
  const double share = 1.0 / static_cast<double>(options_.accumulation);
  StepInfo part_info = info;
  part_info.random = info.random.at(static_cast<std::uint64_t>(part));
  Tensor loss;
  {
    const ProductsIn products(options_.precision);
    loss = model_.loss(training_batch(step_ * options_.accumulation + part), part_info);
  }
  Tensor penalty = model_.penalty(part_info);
  if (loss.is_cpu()) {
    losses.cross_entropy += share * loss.item<double>();
    if (penalty.defined()) losses.penalty += share * penalty.item<double>();
    if (!std::isfinite(losses.cross_entropy + losses.penalty)) throw not_finite("the loss", step_ + 1);
  } else {
    losses.cross_entropies.push_back(loss.detach() * share);
    if (penalty.defined()) losses.penalties.push_back(penalty.detach() * share);
  }
  if (penalty.defined()) loss = loss + penalty;
  if (!loss.requires_grad())
    throw Error(ErrorKind::input, "the loss depends on nothing of this model that is trainable");
  return loss * share;
}

Trainer::StepLosses Trainer::accumulate(std::vector<Parameter>& parameters, std::vector<Tensor>& gradients,
                                        const StepInfo& info) {
  at::AutoGradMode recording(true);
  StepLosses losses;
  std::vector<Tensor> leaves;
  for (Parameter& parameter : parameters) {
    // Contiguous, as it would be after a checkpoint: products may round differently by layout.
    *parameter.tensor = parameter.tensor->detach().contiguous().requires_grad_(true);
    leaves.push_back(*parameter.tensor);
  }
  for (std::int64_t part = 0; part < options_.accumulation; ++part) {
    const auto part_gradients =
        torch::autograd::grad({part_loss(part, info, losses)}, leaves, {}, std::nullopt, false, true);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (!part_gradients[i].defined()) continue;
      gradients[i] = gradients[i].defined() ? gradients[i] + part_gradients[i] : part_gradients[i];
    }
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    *parameters[i].tensor = parameters[i].tensor->detach();
    // What a mask forbids cannot move, so it has no say in norms and moments either.
    const Tensor& mask = parameters[i].mask;
    if (mask.defined() && gradients[i].defined())
      gradients[i] = gradients[i].detach().masked_fill(mask.logical_not(), 0);
  }
  return losses;
}

void Trainer::condition(const std::vector<Parameter>& parameters, std::vector<Tensor>& gradients) {
  double square_sum = 0;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    Tensor& gradient = gradients[i];
    if (!gradient.defined()) continue;
    double norm = norm_of(gradient);
    if (!std::isfinite(norm)) throw not_finite("the gradient of '" + parameters[i].name + "'", step_ + 1);
    if (options_.rescue && norm > 0 && norm < vanishing_norm) {
      gradient = gradient * (*options_.rescue / norm);
      norm = *options_.rescue;
      ++rescued_;
    }
    square_sum += norm * norm;
  }
  const double norm = std::sqrt(square_sum);
  if (!options_.clip || norm <= *options_.clip) return;
  for (Tensor& gradient : gradients) {
    if (gradient.defined()) gradient = gradient * (*options_.clip / norm);
  }
}

void Trainer::condition_on_card(std::vector<Tensor>& gradients, StepLosses& losses) {
  std::vector<Tensor> present;
  for (const Tensor& gradient : gradients) {
    if (gradient.defined()) present.push_back(gradient);
  }
  if (present.empty()) return;
  losses.norms = at::stack(at::_foreach_norm(present));
  if (options_.rescue) {
    const Tensor vanished = at::logical_and(losses.norms > 0, losses.norms < vanishing_norm);
    const Tensor ones = at::ones_like(losses.norms);
    const Tensor factors = at::where(vanished, *options_.rescue / losses.norms, ones);
    rescued_ += vanished.sum().item<std::int64_t>();
    losses.norms = losses.norms * factors;
    at::_foreach_mul_(present, factors.unbind());
  }
  if (!options_.clip) return;
  at::_foreach_mul_(present, (*options_.clip / losses.norms.norm()).clamp_max(1));
}

// The step's numbers, in one transfer, once all of its work is on the way.
void Trainer::read(StepLosses& losses, const std::vector<Parameter>& parameters, const std::vector<Tensor>& gradients) {
  if (losses.cross_entropies.empty()) return;
  std::vector<Tensor> waiting = losses.cross_entropies;
  waiting.insert(waiting.end(), losses.penalties.begin(), losses.penalties.end());
  const auto scalars = waiting.size();
  Tensor all = at::stack(waiting).to(at::kDouble);
  if (losses.norms.defined()) all = at::cat({all, losses.norms.to(at::kDouble)});
  all = all.cpu();
  const double* numbers = all.const_data_ptr<double>();
  for (std::size_t i = 0; i < scalars; ++i) {
    (i < losses.cross_entropies.size() ? losses.cross_entropy : losses.penalty) += numbers[i];
  }
  if (!std::isfinite(losses.cross_entropy + losses.penalty)) throw not_finite("the loss", step_ + 1);
  const double* norm = numbers + scalars;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined()) continue;
    if (!std::isfinite(*norm++)) throw not_finite("the gradient of '" + parameters[i].name + "'", step_ + 1);
  }
}

void Trainer::take_step(OpContext& context) {
  StepInfo info{true, step_, options_.steps, random_.at("step").at(static_cast<std::uint64_t>(step_)),
                options_.recompute};
  std::vector<Parameter> parameters = model_.parameters();
  std::vector<Tensor> gradients(parameters.size());
  StepLosses losses = accumulate(parameters, gradients, info);
  if (losses.cross_entropies.empty()) {
    condition(parameters, gradients);
  } else {
    condition_on_card(gradients, losses);
  }
  const double learning_rate = learning_rate_at(options_, step_);
  adamw_step(parameters, gradients, optimizer_, learning_rate, options_.adamw, model_);
  read(losses, parameters, gradients);
  {
    at::NoGradGuard guard;
    for (const AttachedAdapter& attached : model_.adapters()) attached.adapter->after_step(info);
    TrainingStep step = training_step(info);
    for (const auto& hook : model_.hooks()) hook->after_step(step);
  }
  ++step_;
  const bool evaluated = evaluation_due();
  if (evaluated) evaluate();
  report(context, losses, learning_rate, evaluated);
}

bool Trainer::evaluation_due() const {
  if (!valid_) return false;
  return step_ == options_.steps || (options_.evaluate_every && step_ % *options_.evaluate_every == 0);
}

void Trainer::evaluate() {
  last_valid_ = valid_->evaluate(model_, options_.evaluate_windows, options_.batch, options_.length);
  if (!std::isfinite(*last_valid_)) throw not_finite("the loss on 'valid'", step_);
  ++evaluations_since_best_;
  if (best_valid_ && *last_valid_ >= *best_valid_) return;
  best_valid_ = last_valid_;
  best_step_ = step_;
  evaluations_since_best_ = 0;
}

bool Trainer::stopped_early() const {
  return options_.early_stop && evaluations_since_best_ >= *options_.early_stop;
}

std::map<std::string, double> Trainer::hook_metrics() const {
  const std::set<std::string> taken = {"step", "loss", "ce", "reg", "learning_rate", "valid_nats"};
  std::map<std::string, double> all;
  for (const auto& hook : model_.hooks()) {
    for (const auto& [name, value] : hook->metrics()) {
      std::string unique = name;
      for (int number = 2; all.contains(unique) || taken.contains(unique); ++number)
        unique = name + " " + std::to_string(number);
      all.emplace(unique, value);
    }
  }
  return all;
}

void Trainer::report(OpContext& context, const StepLosses& losses, double learning_rate, bool evaluated) {
  const double total = losses.cross_entropy + losses.penalty;
  std::vector<std::pair<std::string, double>> metrics = {{"loss", total}};
  if (last_valid_) metrics.emplace_back("valid", *last_valid_);
  context.progress(step_, options_.steps, "steps", metrics);
  if (step_ != 1 && step_ != options_.steps && step_ % options_.log_every != 0 && !evaluated) return;
  const auto of_hooks = hook_metrics();
  std::vector<Json> row = {step_,          total,         losses.cross_entropy,
                           losses.penalty, learning_rate, evaluated ? Json(*last_valid_) : Json()};
  for (std::size_t column = row.size(); column < curve_.columns().size(); ++column) {
    const auto found = of_hooks.find(curve_.columns()[column].name);
    const bool known = found != of_hooks.end() && std::isfinite(found->second);
    row.push_back(known ? Json(found->second) : Json());
  }
  curve_.add_row(row);
  context.log(step_line(step_, total, losses.cross_entropy, losses.penalty, learning_rate) + details(of_hooks));
}

std::string Trainer::details(const std::map<std::string, double>& of_hooks) const {
  std::string text = labelled("Trainable", trainable_percent_) + "%";
  double sum = 0;
  int masks = 0;
  for (const AttachedAdapter& attached : model_.adapters()) {
    const Json summary = attached.adapter->summary();
    if (!summary.contains("sparsity")) continue;
    sum += summary.at("sparsity").get<double>();
    ++masks;
  }
  if (masks > 0) text += labelled("Sparsity", sum / masks);
  for (const auto& [name, value] : of_hooks) text += labelled(name, value);
  return text;
}

void Trainer::run(OpContext& context) {
  const Model::Counts counts = model_.counts();
  trainable_percent_ = percent_of(counts.trainable, counts.all);
  if (!prepared_) {
    at::NoGradGuard guard;
    TrainingStep step = training_step({true, 0, options_.steps, random_.at("before")});
    for (const auto& hook : model_.hooks()) hook->before_training(step);
    prepared_ = true;
  }
  while (step_ < options_.steps && !stopped_early()) {
    take_step(context);
    if (context.checkpoint_due()) context.save_checkpoint(checkpoint());
  }
  at::NoGradGuard guard;
  TrainingStep step = training_step({true, step_, options_.steps, random_.at("after")});
  for (const auto& hook : model_.hooks()) hook->after_training(step);
}

Value Trainer::checkpoint() const {
  Value value;
  // Of a copy: fields share memory, and adapters and hooks may write theirs in place in the next step.
  value.fields["model"] = model_.mutable_copy().to_field();
  value.fields["curve"] = to_field(curve_);
  Field state = record_field({{"step", step_},
                              {"rescued", rescued_},
                              {"last_valid", number_or_null(last_valid_)},
                              {"best_valid", number_or_null(best_valid_)},
                              {"best_step", best_step_},
                              {"evaluations_since_best", evaluations_since_best_}});
  for (const auto& [parameter, tensors] : optimizer_) store_state(state, parameter + "|", tensors);
  value.fields["state"] = std::move(state);
  return value;
}

void Trainer::restore(const Value& checkpoint) {
  model_ = Model::from_field(checkpoint.at("model")).mutable_copy();
  curve_ = table_from(checkpoint.at("curve"));
  const Field& state = checkpoint.at("state");
  step_ = state.document.at("step").get<std::int64_t>();
  rescued_ = state.document.at("rescued").get<std::int64_t>();
  last_valid_ = optional_number(state.document, "last_valid");
  best_valid_ = optional_number(state.document, "best_valid");
  best_step_ = state.document.at("best_step").get<std::int64_t>();
  evaluations_since_best_ = state.document.at("evaluations_since_best").get<std::int64_t>();
  optimizer_.clear();
  for (const auto& [name, blob] : state.tensors) {
    const auto bar = name.rfind('|');
    optimizer_[name.substr(0, bar)][name.substr(bar + 1)] = to_tensor(blob).clone();
  }
  prepared_ = true;
}

Value Trainer::result() const {
  const Model::Counts counts = model_.counts();
  const std::int64_t units = step_ * options_.accumulation * options_.batch * data_.units(options_.length);
  Value value;
  value.fields["model"] = model_.to_field();
  value.fields["curve"] = to_field(curve_);
  value.fields["trainable_percent"] = to_field(Scalar{.value = percent_of(counts.trainable, counts.all),
                                                      .n = counts.all,
                                                      .standard_error = {},
                                                      .unit = "%",
                                                      .better = Better::lower,
                                                      .per_example = {}});
  Json summary = {{"steps", step_},
                  {data_.unit_name(), units},
                  {"trainable", counts.trainable},
                  {"parameters", counts.all},
                  {"rescued_gradients", rescued_},
                  {"best_valid_nats", number_or_null(best_valid_)},
                  {"best_step", best_step_},
                  {"stopped_early", step_ < options_.steps}};
  value.fields["summary"] = record_field(std::move(summary));
  return value;
}

}  // namespace colonnade
