#pragma once

#include "colonnade/tensor/batch.h"
#include "colonnade/tensor/tensor.h"

namespace colonnade {

// Where this process computes: the CPU, until the plugin of another device says otherwise, before any op runs. What is
// read from values, drawn, or made as weights lies there; values themselves always hold CPU memory (`to_blob` copies).
// An op that declares any_device runs in processes of either kind.
at::Device compute_device();
void set_compute_device(at::Device device);
inline bool computes_on_cpu() { return compute_device().is_cpu(); }

// Like to_tensor, but CPU memory whatever the process computes on: for what is looked up, not computed with.
Tensor to_host_tensor(const Blob& blob);

// The batch where the process computes.
Batch on_compute_device(Batch batch);

// The type that products are computed in under LibTorch's autocast on the tensor's device, else the tensor's own.
at::ScalarType product_type(const Tensor& tensor);

}  // namespace colonnade
