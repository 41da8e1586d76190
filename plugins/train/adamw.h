#pragma once

#include <vector>

#include "colonnade/tensor/model.h"

namespace colonnade {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
};

// One step of AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019) on every parameter:
//   m = β1 m + (1−β1) g,  v = β2 v + (1−β2) g²
//   p = p (1 − lr·decay) − lr·rate · (m / (1−β1^t)) / (sqrt(v / (1−β2^t)) + ε)
// `gradients` goes with `parameters`; an undefined gradient leaves its parameter and its state as they are. Elements
// that a parameter's mask forbids become zero. State lies in `state` under the parameter's name: "exp_avg",
// "exp_avg_sq" and "step" ([1]: t, how often this parameter was updated). On the CPU a parameter gets a new tensor;
// the old one is not written, since hooks, checkpoints and observers may share it. On a card it is written in place, by
// LibTorch's fused kernel. A parameter whose shape has changed starts with
// fresh state.
void adamw_step(const std::vector<Parameter>& parameters, const std::vector<Tensor>& gradients, ParameterState& state,
                double learning_rate, const AdamWOptions& options, const Model& model);

// Matrices that products apply decay; vectors (norms, biases, D, A_log) and what adapters own do not.
bool decays(const Model& model, const Parameter& parameter);

}  // namespace colonnade
