#include "adamw.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

namespace colonnade {

namespace {

constexpr std::int64_t grain = 16384;

struct Coefficients {
  double shrink, rate, beta1, beta2, correction1, correction2, epsilon;
};

// The loop that defines the step; T is the parameter's type, arithmetic is in it.
template <typename T>
void update(T* p, const T* g, T* m, T* v, const bool* keep, std::int64_t count, const Coefficients& c) {
  const T shrink = static_cast<T>(c.shrink), beta1 = static_cast<T>(c.beta1), beta2 = static_cast<T>(c.beta2);
  const T rate = static_cast<T>(c.rate / c.correction1), root = static_cast<T>(1 / std::sqrt(c.correction2));
  const T epsilon = static_cast<T>(c.epsilon);
  at::parallel_for(0, count, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
      const T moved = p[i] * shrink - rate * m[i] / (std::sqrt(v[i]) * root + epsilon);
      p[i] = keep == nullptr || keep[i] ? moved : T(0);
    }
  });
}

Tensor& moment(NamedTensors& state, const char* name, const Tensor& like) {
  Tensor& tensor = state[name];
  if (!tensor.defined()) tensor = at::zeros_like(like, like.options().requires_grad(false));
  tensor = tensor.contiguous();
  return tensor;
}

}  // namespace

bool decays(const Model& model, const Parameter& parameter) {
  const bool own_weight = parameter.name.ends_with(":S") || parameter.name.ends_with(":U") || parameter.name.ends_with(":V");
  return own_weight && model.site(parameter.site).kind != SiteKind::vector;
}

void adamw_step(const std::vector<Parameter>& parameters, const std::vector<Tensor>& gradients, ParameterState& state,
                std::int64_t step, double learning_rate, const AdamWOptions& options, const Model& model) {
  at::NoGradGuard guard;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!gradients[i].defined()) continue;
    const Parameter& parameter = parameters[i];
    Tensor& p = *parameter.tensor;
    Tensor g = gradients[i].contiguous();
    Tensor& m = moment(state[parameter.name], "exp_avg", p);
    Tensor& v = moment(state[parameter.name], "exp_avg_sq", p);
    Tensor keep = parameter.mask.defined() ? parameter.mask.contiguous() : Tensor();
    const bool* keep_data = keep.defined() ? keep.const_data_ptr<bool>() : nullptr;
    const Coefficients c{decays(model, parameter) ? 1 - learning_rate * options.weight_decay : 1.0,
                         learning_rate * parameter.rate,
                         options.beta1,
                         options.beta2,
                         1 - std::pow(options.beta1, static_cast<double>(step)),
                         1 - std::pow(options.beta2, static_cast<double>(step)),
                         options.epsilon};
    if (p.scalar_type() == at::kDouble) {
      update(p.data_ptr<double>(), g.const_data_ptr<double>(), m.data_ptr<double>(), v.data_ptr<double>(), keep_data, p.numel(), c);
    } else {
      update(p.data_ptr<float>(), g.const_data_ptr<float>(), m.data_ptr<float>(), v.data_ptr<float>(), keep_data, p.numel(), c);
    }
  }
}

}  // namespace colonnade
