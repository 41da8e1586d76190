#pragma once

#include "colonnade/tensor/model.h"

namespace colonnade {

// An architecture that reads sequences piece by piece and keeps what it needs of the past in tensors of fixed size. Reading
// a sequence in pieces gives the logits of reading it whole, up to rounding.
class Recurrent {
 public:
  virtual ~Recurrent();

  // The state before the first token of `batch` sequences. Every tensor has the batch as its first dimension.
  virtual NamedTensors initial_state(const Json& configuration, std::int64_t batch, at::ScalarType dtype) const = 0;
  // Logits [B, L, vocabulary] of the next tokens, "ids" [B, L]; `state` is replaced by the state behind them. Where the
  // batch has a "mask" [B, L] (bool), tokens whose mask is false are padding: they change nothing and their logits mean
  // nothing. Padding must come before all tokens of its sequence.
  virtual Tensor forward_from(SiteRunner& run, const Json& configuration, const Batch& batch,
                              NamedTensors& state) const = 0;
};

// The model's architecture as a recurrent one; throws Error(input) naming it if it is none.
const Recurrent& recurrent(const Model& model);
// The same on a model, without gradients.
NamedTensors initial_state(const Model& model, std::int64_t batch);
Tensor forward_from(const Model& model, const Batch& batch, NamedTensors& state);

}  // namespace colonnade
