#include "head_loss.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include "colonnade/error.h"
#include "colonnade/tensor/batch.h"
#include "product.h"

namespace colonnade {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t logits_at_once = std::int64_t{1} << 23;
constexpr std::int64_t fewest_rows = 64;

struct Wanted {
  bool x = false, weight = false;
};

struct LossAndGradients {
  Tensor loss, x, weight;  // gradients where wanted
};

LossAndGradients compute(const Tensor& x, const Tensor& weight, const Tensor& targets, Wanted wanted) {
  const Tensor scored = targets != not_scored;
  const double share = 1.0 / scored.sum().item<double>();
  const Tensor class_of = targets.where(scored, at::zeros({}, targets.options()));
  LossAndGradients out;
  if (wanted.x) out.x = at::empty(x.sizes(), x.options());
  if (wanted.weight) out.weight = at::zeros(weight.sizes(), weight.options());
  const std::int64_t step = std::max(fewest_rows, logits_at_once / weight.size(0));
  double sum = 0;
  for (std::int64_t first = 0; first < x.size(0); first += step) {
    const std::int64_t rows = std::min(step, x.size(0) - first);
    const Tensor given = x.narrow(0, first, rows);
    const Tensor classes = class_of.narrow(0, first, rows).unsqueeze(-1);
    const Tensor counts = scored.narrow(0, first, rows);
    Tensor logits = product(given, weight, {});
    const Tensor normal = at::logsumexp(logits, -1, true);
    sum += (normal - logits.gather(-1, classes)).squeeze(-1).to(at::kDouble).mul(counts).sum().item<double>();
    if (!wanted.x && !wanted.weight) continue;
    // From here on the loss's gradient by the logits: (softmax - one at the target) / rows scored.
    logits.sub_(normal).exp_();
    logits.scatter_add_(-1, classes, at::full({rows, 1}, -1, logits.options()));
    logits.mul_((counts.to(logits.scalar_type()) * share).unsqueeze(-1));
    if (wanted.x) out.x.narrow(0, first, rows).copy_(at::matmul(logits, weight));
    if (wanted.weight) out.weight.addmm_(logits.t(), given);
  }
  out.loss = at::scalar_tensor(sum * share, x.options());
  return out;
}

Tensor scaled(const Tensor& gradient, const Tensor& upstream) {
  return upstream.item<double>() == 1 ? gradient : gradient * upstream;
}

class HeadLoss : public torch::autograd::Function<HeadLoss> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& targets,
                        bool for_x, bool for_weight) {
    LossAndGradients result = compute(x, weight, targets, {for_x, for_weight});
    context->save_for_backward({result.x, result.weight});
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const variable_list saved = context->get_saved_variables();
    variable_list gradients(5);
    for (std::size_t i = 0; i < saved.size(); ++i) {
      if (saved[i].defined()) gradients[i] = scaled(saved[i], upstream[0]);
    }
    return gradients;
  }
};

}  // namespace

Tensor head_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& targets) {
  if (targets.numel() != x.size(0)) {
    throw Error(ErrorKind::input, "the batch has " + std::to_string(targets.numel()) + " targets for " +
                                      std::to_string(x.size(0)) + " tokens");
  }
  const bool recording = at::GradMode::is_enabled();
  const Wanted wanted{recording && x.requires_grad(), recording && weight.requires_grad()};
  if (!wanted.x && !wanted.weight) return compute(x, weight, targets, wanted).loss;
  return HeadLoss::apply(x, weight, targets, wanted.x, wanted.weight);
}

}  // namespace colonnade
