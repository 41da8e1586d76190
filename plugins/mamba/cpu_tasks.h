// How this plugin's CPU ops call kernels that know nothing of LibTorch.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "selective_scan.h"

namespace colonnade::mamba {

inline void parallel_tasks(int64_t count, const ScanBody& body) {
  constexpr int64_t kGrain = 1;
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) { body(begin, end); });
}

/// Calls function(zero), zero of the tensor's type: double or float.
template <typename Function>
void for_real_type(const at::Tensor& x, const Function& function) {
  if (x.scalar_type() == at::kDouble) {
    function(double{});
  } else {
    function(float{});
  }
}

}  // namespace colonnade::mamba
