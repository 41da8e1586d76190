// Layers that are computed again for their gradients (Chen et al., "Training Deep Nets with Sublinear Memory Cost",
// 2016).
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "colonnade/tensor/model.h"

namespace colonnade {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Body = std::function<Tensor(SiteRunner&, const Tensor&)>;

// What products on a device are computed in (LibTorch's autocast, a setting of the thread).
struct Products {
  explicit Products(at::DeviceType on)
      : device(on), lowered(at::autocast::is_autocast_enabled(on)), type(at::autocast::get_autocast_dtype(on)) {}
  void set() const {
    at::autocast::set_autocast_enabled(device, lowered);
    at::autocast::set_autocast_dtype(device, type);
  }
  at::DeviceType device;
  bool lowered;
  at::ScalarType type;
};

// While it lives, products are computed as given. Weights that were cast without recording, when a layer was computed
// first, stand in for none that is to be recorded, nor do its own afterwards.
class ProductsAs {
 public:
  explicit ProductsAs(const Products& wanted) : before_(wanted.device) {
    wanted.set();
    at::autocast::clear_cache();
  }
  ~ProductsAs() {
    at::autocast::clear_cache();
    before_.set();
  }
  ProductsAs(const ProductsAs&) = delete;
  ProductsAs& operator=(const ProductsAs&) = delete;

 private:
  const Products before_;
};

// What computing a layer again takes besides its input.
struct Segment : public torch::CustomClassHolder {
  Segment(const Model& its_model, StepInfo its_info, Body its_body, variable_list its_leaves, Products its_products)
      : model(its_model),
        info(std::move(its_info)),
        body(std::move(its_body)),
        leaves(std::move(its_leaves)),
        products(its_products) {}
  const Model& model;
  StepInfo info;
  Body body;
  variable_list leaves;
  Products products;
};

void add_trained(const Tensor& tensor, variable_list& leaves) {
  if (tensor.defined() && tensor.requires_grad()) leaves.push_back(tensor);
}

variable_list trained_under(const Model& model, const std::string& prefix) {
  variable_list leaves;
  for (const SiteSpec& site : model.sites()) {
    if (!site.name.starts_with(prefix)) continue;
    const SiteWeight& weight = model.weight(site.name);
    for (const Tensor& part : {weight.sparse, weight.u, weight.v}) add_trained(part, leaves);
  }
  for (const AttachedAdapter& attached : model.adapters()) {
    if (!attached.site.starts_with(prefix)) continue;
    for (const auto& [name, entry] : attached.adapter->tensors()) add_trained(entry.tensor, leaves);
  }
  return leaves;
}

class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  // The leaves are given so that gradients reach them.
  static Tensor forward(AutogradContext* context, const Tensor& x, at::TensorList leaves,
                        const c10::intrusive_ptr<Segment>& segment) {
    (void)leaves;
    context->save_for_backward({x});
    context->saved_data["segment"] = c10::IValue::make_capsule(segment);
    SiteRunner run(segment->model, segment->info, nullptr);
    return segment->body(run, x);
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const auto segment = c10::static_intrusive_pointer_cast<Segment>(context->saved_data["segment"].toCapsule());
    const Tensor saved = context->get_saved_variables()[0];
    const bool for_x = context->needs_input_grad(0);
    const at::AutoGradMode recording(true);
    const ProductsAs products(segment->products);
    const Tensor x = saved.detach().requires_grad_(for_x);
    SiteRunner run(segment->model, segment->info, nullptr);
    const Tensor y = segment->body(run, x);
    variable_list inputs = segment->leaves;
    if (for_x) inputs.push_back(x);
    variable_list gradients = torch::autograd::grad({y}, inputs, upstream, std::nullopt, false, true);
    Tensor of_x;
    if (for_x) {
      of_x = gradients.back();
      gradients.pop_back();
    }
    gradients.insert(gradients.begin(), of_x);
    gradients.emplace_back();  // of the segment
    return gradients;
  }
};

}  // namespace

Tensor SiteRunner::recomputed(const std::string& prefix, const Tensor& x, const Body& body) {
  if (!info_.recompute || observer_ != nullptr || !at::GradMode::is_enabled()) return body(*this, x);
  variable_list leaves = trained_under(model_, prefix);
  if (leaves.empty() && !x.requires_grad()) return body(*this, x);
  const auto segment = c10::make_intrusive<Segment>(model_, info_, body, leaves, Products(x.device().type()));
  return Recomputed::apply(x, at::TensorList(leaves), segment);
}

}  // namespace colonnade
