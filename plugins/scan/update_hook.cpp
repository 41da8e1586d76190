#include "update_hook.h"

#include <ATen/Functions.h>

#include "colonnade/error.h"

namespace colonnade::scan {

namespace {

constexpr const char* kType = "scan/update@1";

class UpdateHook final : public Hook {
 public:
  UpdateHook(OrderingOptions options, std::int64_t every, std::int64_t batches, Tensor updates)
      : options_(std::move(options)), every_(every), batches_(batches) {
    tensors_["updates"] = std::move(updates);
  }

  std::string type() const override { return kType; }
  Json configuration() const override {
    return {{"ordering", options_.to_json()}, {"every", every_}, {"batches", batches_}};
  }
  NamedTensors& tensors() override { return tensors_; }
  std::unique_ptr<Hook> clone() const override { return std::make_unique<UpdateHook>(*this); }

  void after_step(TrainingStep& step) override {
    const std::int64_t done = step.info.step + 1;
    if (done % every_ != 0) return;
    // Batches before the first one, so that the samples are no batches that training sees.
    const std::int64_t first = -batches_ * (done / every_ + 1);
    const auto orders = find_orders(
        step.model, options_, step.info.random.at("scan update"), batches_,
        [&](std::int64_t index) { return step.training_batch(first + index); }, [](std::int64_t) {});
    for (const FoundOrder& found : orders)
      permute(step.model, found.symmetry, order_tensor(found.order), &step.optimizer);
    tensors_["updates"] = tensors_.at("updates") + 1;
  }

  std::map<std::string, double> metrics() const override {
    return {{"scan_updates", static_cast<double>(tensors_.at("updates").item<std::int64_t>())}};
  }

 private:
  OrderingOptions options_;
  std::int64_t every_, batches_;
  NamedTensors tensors_;
};

std::unique_ptr<Hook> load(const Json& configuration, const NamedTensors& stored) {
  const auto found = stored.find("updates");
  if (found == stored.end()) throw Error(ErrorKind::input, "the hook scan/update lacks its tensor 'updates'");
  return std::make_unique<UpdateHook>(OrderingOptions::from_json(configuration.at("ordering")),
                                      configuration.at("every").get<std::int64_t>(),
                                      configuration.at("batches").get<std::int64_t>(), found->second);
}

}  // namespace

std::shared_ptr<Hook> make_update_hook(const OrderingOptions& options, std::int64_t every, std::int64_t batches) {
  return std::make_shared<UpdateHook>(options, every, batches, at::zeros({}, at::TensorOptions().dtype(at::kLong)));
}

HookType update_hook_type() {
  return {kType, load};
}

}  // namespace colonnade::scan
