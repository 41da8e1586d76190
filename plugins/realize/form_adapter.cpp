#include <ATen/Functions.h>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"
#include "form.h"

namespace colonnade::realize {

namespace {

constexpr const char* type_id = "realize/form@1";
// Of no length, and said to follow both axes: whoever would move rows or columns is told that this cannot follow.
constexpr const char* marker = "fixed";

struct Named {
  const char* name;
  Tensor RunningForm::*tensor;
};
constexpr Named parts[] = {{"core", &RunningForm::core},       {"rows", &RunningForm::rows},
                           {"columns", &RunningForm::columns}, {"offsets", &RunningForm::offsets},
                           {"indices", &RunningForm::indices}, {"values", &RunningForm::values}};

class FormAdapter final : public Adapter {
 public:
  explicit FormAdapter(RunningForm form) : form_(std::move(form)) {
    for (const Named& part : parts) {
      const Tensor& tensor = form_.*part.tensor;
      // Numbers count as the weight's, which training leaves alone: they are attached as frozen.
      if (tensor.defined()) tensors_[part.name] = {tensor, -1, -1, tensor.is_floating_point()};
    }
    tensors_[marker] = {at::empty({0}, at::kLong), 0, 0, false};
  }

  std::string type() const override { return type_id; }
  Json configuration() const override { return Json::object(); }
  std::map<std::string, AdapterTensor>& tensors() override { return tensors_; }
  std::unique_ptr<Adapter> clone() const override { return std::make_unique<FormAdapter>(form_); }
  void bind(const SiteSpec&) override {}
  Tensor update(const StepInfo&) const override { return dense_matrix(form_); }
  Tensor branch(const Tensor& x, const StepInfo&) const override { return product(form_, x); }
  Json summary() const override { return {{"form", form_.name()}, {"bytes", form_.bytes()}}; }

  const RunningForm& form() const { return form_; }

 private:
  RunningForm form_;
  std::map<std::string, AdapterTensor> tensors_;
};

/// Refuses what products would read beyond memory for.
class Check {
 public:
  Check(const RunningForm& form, const std::string& site)
      : form_(form), what_("the realised form of site '" + site + "'") {}

  void all() const {
    require(form_.core.defined() != form_.values.defined(), "it has neither a core nor values, or both");
    if (form_.is_sparse()) {
      sparse();
    } else {
      core();
    }
  }

 private:
  void require(bool holds, const std::string& otherwise) const {
    if (!holds) throw Error(ErrorKind::input, what_ + " is damaged: " + otherwise);
  }

  void numbers(const Tensor& tensor, at::IntArrayRef shape, const char* name) const {
    require(tensor.sizes() == shape && tensor.is_floating_point() && tensor.is_contiguous(),
            std::string(name) + " have not the shape or type that its site asks for");
    require_finite(tensor, what_);
  }

  void ascending(const Tensor& index, std::int64_t limit, const char* name) const {
    if (!index.defined()) return;
    require(index.dim() == 1 && index.scalar_type() == at::kLong && index.is_contiguous(),
            std::string(name) + " are no row of whole numbers");
    const auto* at = index.const_data_ptr<std::int64_t>();
    std::int64_t least = 0;
    for (std::int64_t i = 0; i < index.numel(); ++i) {
      require(at[i] >= least && at[i] < limit, std::string(name) + " do not ascend below " + std::to_string(limit));
      least = at[i] + 1;
    }
  }

  void core() const {
    ascending(form_.rows, form_.height, "its rows");
    ascending(form_.columns, form_.width, "its columns");
    numbers(form_.core,
            {form_.rows.defined() ? form_.rows.numel() : form_.height,
             form_.columns.defined() ? form_.columns.numel() : form_.width},
            "its numbers");
  }

  void sparse() const {
    const Tensor &offsets = form_.offsets, &indices = form_.indices;
    require(offsets.defined() && indices.defined(), "it lacks offsets or indices");
    require(offsets.dim() == 1 && offsets.numel() == form_.height + 1 && offsets.scalar_type() == at::kInt &&
                offsets.is_contiguous(),
            "its offsets do not fit its rows");
    const bool is_short = indices.scalar_type() == at::kShort;
    require(indices.dim() == 1 && indices.is_contiguous() && (is_short || indices.scalar_type() == at::kInt),
            "its indices are no row of whole numbers");
    numbers(form_.values, {1, indices.numel()}, "its numbers");
    const auto* begin = offsets.const_data_ptr<std::int32_t>();
    require(begin[0] == 0 && begin[form_.height] == indices.numel(), "its offsets do not fit its indices");
    for (std::int64_t row = 0; row < form_.height; ++row)
      require(begin[row] <= begin[row + 1], "its offsets do not ascend");
    if (indices.numel() == 0) return;
    constexpr std::int64_t low_bits = 0xFFFF;
    const Tensor wide = is_short ? indices.to(at::kInt).bitwise_and(low_bits) : indices;
    require(wide.min().item<std::int64_t>() >= 0 && wide.max().item<std::int64_t>() < form_.width,
            "an index lies beyond its columns");
  }

  const RunningForm& form_;
  std::string what_;
};

std::unique_ptr<Adapter> load(const Json&, const SiteSpec& site, const NamedTensors& tensors) {
  if (!computes_on_cpu()) {
    throw Error(ErrorKind::input,
                "site '" + site.name + "' was realised in a form for the CPU; give the op device = 'cpu'");
  }
  RunningForm form;
  form.height = site.rows();
  form.width = site.columns();
  for (const Named& part : parts) {
    if (const auto found = tensors.find(part.name); found != tensors.end()) form.*part.tensor = found->second;
  }
  Check(form, site.name).all();
  return std::make_unique<FormAdapter>(std::move(form));
}

}  // namespace

std::shared_ptr<Adapter> running_adapter(RunningForm form) {
  return std::make_shared<FormAdapter>(std::move(form));
}

AdapterType running_adapter_type() {
  return {type_id, load};
}

const RunningForm* running_form(const Model& model, const std::string& site) {
  for (const AttachedAdapter* attached : model.adapters_of(site)) {
    if (const auto* found = dynamic_cast<const FormAdapter*>(attached->adapter.get())) return &found->form();
  }
  return nullptr;
}

}  // namespace colonnade::realize
