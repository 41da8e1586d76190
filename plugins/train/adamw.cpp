#include "adamw.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <map>

namespace colonnade {

namespace {

constexpr std::int64_t grain = 16384;

struct Coefficients {
  double shrink, rate, beta1, beta2, correction1, correction2, epsilon;
};

template <typename T>
struct Operands {
  const T* p;
  const T* g;
  const bool* keep;  // or nullptr
  T* m;
  T* v;
  T* moved;
};

// The loop that defines the step; T is the parameter's type, arithmetic is in it.
template <typename T>
void update(const Operands<T>& on, std::int64_t count, const Coefficients& c) {
  const T shrink = static_cast<T>(c.shrink), beta1 = static_cast<T>(c.beta1), beta2 = static_cast<T>(c.beta2);
  const T rate = static_cast<T>(c.rate / c.correction1), root = static_cast<T>(1 / std::sqrt(c.correction2));
  const T epsilon = static_cast<T>(c.epsilon);
  at::parallel_for(0, count, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      on.m[i] = beta1 * on.m[i] + (1 - beta1) * on.g[i];
      on.v[i] = beta2 * on.v[i] + (1 - beta2) * on.g[i] * on.g[i];
      on.moved[i] = on.p[i] * shrink - rate * on.m[i] / (std::sqrt(on.v[i]) * root + epsilon);
    }
    if (on.keep == nullptr) return;
    // A product, since no processor predicts a mask; adding 0 turns -0 into 0.
    for (std::int64_t i = begin; i < end; ++i) on.moved[i] = on.moved[i] * static_cast<T>(on.keep[i]) + T(0);
  });
}

Tensor& moment(NamedTensors& state, const char* name, const Tensor& like) {
  Tensor& tensor = state[name];
  if (!tensor.defined() || tensor.sizes() != like.sizes()) tensor = at::zeros(like.sizes(), like.options());
  tensor = tensor.contiguous();
  return tensor;
}

// Counts this update in and returns how many there were; a parameter of another size than before starts anew.
double count_update(NamedTensors& state, const Parameter& parameter) {
  const auto mean = state.find("exp_avg");
  const bool fresh = mean == state.end() || mean->second.sizes() != parameter.tensor->sizes();
  Tensor& step = state["step"];
  if (!step.defined() || fresh) step = at::zeros({1}, at::TensorOptions().dtype(at::kDouble));
  step = step.cpu() + 1;
  return *step.const_data_ptr<double>();
}

template <typename T>
Tensor moved(const Parameter& parameter, const Tensor& gradient, NamedTensors& state,
             const Coefficients& coefficients) {
  const Tensor p = parameter.tensor->detach().contiguous();
  const Tensor g = gradient.contiguous();
  const Tensor keep = parameter.mask.defined() ? parameter.mask.contiguous() : Tensor();
  Tensor result = at::empty(p.sizes(), p.options());
  const Operands<T> operands{p.const_data_ptr<T>(),
                             g.const_data_ptr<T>(),
                             keep.defined() ? keep.const_data_ptr<bool>() : nullptr,
                             moment(state, "exp_avg", p).template data_ptr<T>(),
                             moment(state, "exp_avg_sq", p).template data_ptr<T>(),
                             result.data_ptr<T>()};
  update(operands, p.numel(), coefficients);
  return result;
}

}  // namespace

namespace {

// Parameters whose step has the same numbers, for one call on the card.
struct CardGroup {
  std::vector<Tensor> parameters, gradients, means, squares, steps;
};

// On a card parameters are written in place, in a few launches for all of them.
void step_on_card(const std::vector<Parameter>& parameters, const std::vector<Tensor>& gradients, ParameterState& state,
                  double learning_rate, const AdamWOptions& options, const Model& model) {
  std::map<std::pair<bool, double>, CardGroup> groups;
  std::map<double, Tensor> counts;  // on the card, by their value
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!gradients[i].defined()) continue;
    const Parameter& parameter = parameters[i];
    NamedTensors& own = state[parameter.name];
    const double t = count_update(own, parameter);
    Tensor& count = counts[t];
    if (!count.defined()) count = at::full({}, t, parameter.tensor->options().dtype(at::kFloat));
    CardGroup& group = groups[{decays(model, parameter), parameter.rate}];
    group.parameters.push_back(parameter.tensor->detach());
    group.gradients.push_back(gradients[i].contiguous());
    group.means.push_back(moment(own, "exp_avg", *parameter.tensor));
    group.squares.push_back(moment(own, "exp_avg_sq", *parameter.tensor));
    group.steps.push_back(count);
  }
  for (auto& [key, group] : groups) {
    const auto& [decaying, rate] = key;
    // The decay's share of the parameter does not grow with the parameter's own rate.
    const double decay = decaying ? options.weight_decay / rate : 0;
    at::_fused_adamw_(group.parameters, group.gradients, group.means, group.squares, {}, group.steps,
                      learning_rate * rate, options.beta1, options.beta2, decay, options.epsilon, false, false, {}, {});
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (gradients[i].defined() && parameters[i].mask.defined()) parameters[i].tensor->detach().mul_(parameters[i].mask);
  }
}

}  // namespace

bool decays(const Model& model, const Parameter& parameter) {
  const std::string& name = parameter.name;
  const bool own_weight = name.ends_with(":S") || name.ends_with(":U") || name.ends_with(":V");
  return own_weight && model.site(parameter.site).kind != SiteKind::vector;
}

void adamw_step(const std::vector<Parameter>& parameters, const std::vector<Tensor>& gradients, ParameterState& state,
                double learning_rate, const AdamWOptions& options, const Model& model) {
  at::NoGradGuard guard;
  if (!parameters.empty() && !parameters.front().tensor->is_cpu()) {
    return step_on_card(parameters, gradients, state, learning_rate, options, model);
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!gradients[i].defined()) continue;
    const Parameter& parameter = parameters[i];
    NamedTensors& own = state[parameter.name];
    const double t = count_update(own, parameter);
    const Coefficients c{decays(model, parameter) ? 1 - learning_rate * options.weight_decay : 1.0,
                         learning_rate * parameter.rate,
                         options.beta1,
                         options.beta2,
                         1 - std::pow(options.beta1, t),
                         1 - std::pow(options.beta2, t),
                         options.epsilon};
    const bool wide = parameter.tensor->scalar_type() == at::kDouble;
    *parameter.tensor =
        wide ? moved<double>(parameter, gradients[i], own, c) : moved<float>(parameter, gradients[i], own, c);
  }
}

}  // namespace colonnade
