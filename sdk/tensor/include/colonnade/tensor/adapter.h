#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "colonnade/registry.h"
#include "colonnade/tensor/site.h"

namespace colonnade {

// What adapters and hooks may know of the moment: evaluating, or a training step with its random numbers.
struct StepInfo {
  bool training = false;
  std::int64_t step = 0, total_steps = 0;
  RandomStream random;  // of this training; derive with .at(site).at(step)
  bool recompute = false;  // layers keep what they were given only, and compute the rest again for gradients
};

// A named tensor of an adapter. `row_dim` and `column_dim` say which of its dimensions follow the site's rows (axis 0) and
// columns (axis 1), -1 for none: by them permuting and slicing act on the tensor, its optimizer state and its checkpoint alike.
struct AdapterTensor {
  Tensor tensor;
  int row_dim = -1;
  int column_dim = -1;
  bool trainable = true;
  double rate = 1;  // times the training's learning rate
};

// Something attached to a site. How adapters compose does not depend on the order in which they were attached:
//
//   y = l_out ⊙ ( (R + M ⊙ (S + Σ ΔW) + U Vᵀ) (l_in ⊙ x) + b )
//
// M is the product of the site's own mask and every adapter's mask, ΔW the sum of every adapter's update, l the products of
// scales. So an update can't fill what a mask dropped, and merging keeps the zeros. An adapter implements what it has of these.
//
// Type id "plugin/type@format". On disk: configuration and named tensors. One thread at a time.
class Adapter {
 public:
  virtual ~Adapter() = default;
  virtual std::string type() const = 0;
  virtual Json configuration() const = 0;
  virtual std::map<std::string, AdapterTensor>& tensors() = 0;
  const std::map<std::string, AdapterTensor>& tensors() const { return const_cast<Adapter*>(this)->tensors(); }
  virtual std::unique_ptr<Adapter> clone() const = 0;  // shares tensors; the caller replaces those it will write

  // The site it is attached to, given before anything else is called.
  virtual void bind(const SiteSpec& site) = 0;

  // M: values in [0, 1], broadcastable to the site's matrix [rows, columns]; undefined: none.
  virtual Tensor mask(const StepInfo&) const { return {}; }
  // ΔW [rows, columns]; undefined: none. Differentiable.
  virtual Tensor update(const StepInfo&) const { return {}; }
  // ΔW x without forming ΔW, used where the site has no mask and kind linear. x [..., in] -> [..., out]; undefined: use `update`.
  virtual Tensor branch(const Tensor& x, const StepInfo&) const { return (void)x, Tensor(); }
  // True where training must go through `branch_input` (dropout): x as the branch sees it.
  virtual Tensor branch_input(const Tensor& x, const StepInfo&) const { return x; }
  // l_in [columns], l_out [rows]; undefined: none.
  virtual Tensor scale_input(const StepInfo&) const { return {}; }
  virtual Tensor scale_output(const StepInfo&) const { return {}; }

  // A term of the training loss, in nats; undefined: none.
  virtual Tensor penalty(const StepInfo&) const { return {}; }
  // After each optimizer step.
  virtual void after_step(const StepInfo&) {}
  // Whether evaluation keeps the site's element: bool [rows, columns]; undefined: all. What folding writes into the site's mask.
  virtual Tensor hard_mask() const { return {}; }
  // What the report says of it.
  virtual Json summary() const { return Json::object(); }
};

// Makes adapters of one type from what was stored. `upgrade` older formats here; a newer format is refused by the caller.
struct AdapterType {
  std::string id;  // "plugin/type@format"
  std::unique_ptr<Adapter> (*load)(const Json& configuration, const SiteSpec& site, const NamedTensors& tensors);
};
void register_adapter(Registrar& registrar, AdapterType type);
// Throws Error(input): unknown type with the nearest, or a newer format by name.
std::unique_ptr<Adapter> load_adapter(const std::string& type, const Json& configuration, const SiteSpec& site,
                                      const NamedTensors& tensors);

}  // namespace colonnade
