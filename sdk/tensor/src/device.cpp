#include "colonnade/tensor/device.h"

#include <ATen/Functions.h>
#include <ATen/autocast_mode.h>

namespace colonnade {

namespace {

at::Device& device_slot() {
  static at::Device device(at::kCPU);
  return device;
}

}  // namespace

at::Device compute_device() {
  return device_slot();
}

void set_compute_device(at::Device device) {
  device_slot() = device;
}

Batch on_compute_device(Batch batch) {
  if (computes_on_cpu()) return batch;
  const auto ids = batch.tensors.find("ids");
  if (ids != batch.tensors.end() && ids->second.is_cpu() && ids->second.numel() > 0) {
    const auto [lowest, highest] = ids->second.aminmax();
    batch.id_range = Batch::IdRange{lowest.item<std::int64_t>(), highest.item<std::int64_t>()};
  }
  for (auto& [name, tensor] : batch.tensors) tensor = tensor.to(compute_device());
  return batch;
}

at::ScalarType product_type(const Tensor& tensor) {
  const auto device = tensor.device().type();
  return at::autocast::is_autocast_enabled(device) ? at::autocast::get_autocast_dtype(device) : tensor.scalar_type();
}

}  // namespace colonnade
