#include "colonnade/tensor/recurrent.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"

namespace colonnade {

Recurrent::~Recurrent() = default;

const Recurrent& recurrent(const Model& model) {
  const auto* found = dynamic_cast<const Recurrent*>(&model.architecture());
  if (found != nullptr) return *found;
  throw Error(ErrorKind::input, "models of type " + model.architecture().type() +
                                    " cannot read a sequence piece by piece, as generating needs");
}

NamedTensors initial_state(const Model& model, std::int64_t batch) {
  return recurrent(model).initial_state(model.configuration(), batch, model.dtype());
}

Tensor forward_from(const Model& model, const Batch& batch, NamedTensors& state) {
  const at::NoGradGuard no_gradients;
  // A token is hundreds of small ops: none of them has to ask whether it is recorded.
  const at::AutoDispatchBelowADInplaceOrView unrecorded;
  SiteRunner run(model, {}, nullptr);
  return recurrent(model).forward_from(run, model.configuration(), on_compute_device(batch), state);
}

}  // namespace colonnade
