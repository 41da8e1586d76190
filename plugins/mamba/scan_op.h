// The selective scan on tensors. `mamba::selective_scan` and the two ops it is made of, `mamba::selective_scan_forward`
// and `mamba::selective_scan_backward`, are registered with LibTorch's dispatcher: another plugin adds a device by
// implementing the latter two for its dispatch key.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>

#include "selective_scan.h"

namespace colonnade::mamba {

struct ScanResult {
  at::Tensor y;       // [B, L, D]
  at::Tensor h_last;  // [B, D, N]
};

/// "mamba" or "zoh"; throws c10::Error naming the word otherwise.
Discretization parse_discretization(std::string_view word);
std::string_view discretization_name(Discretization discretization);

/// Throws c10::Error unless x and delta are [B, L, D], a [D, N], b and c [B, L, N], d [D], h0 [B, D, N], all of one
/// floating type and on one device. An undefined d or h0 passes.
void check_scan_inputs(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                       const at::Tensor& c, const at::Tensor& d, const at::Tensor& h0);

/// The scan of selective_scan.h on tensors of float or double, with gradients for every input. `d` and `h0` may be
/// undefined: no skip, and a state of zeros. Not differentiable twice.
ScanResult selective_scan(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                          const at::Tensor& c, const at::Tensor& d, const at::Tensor& h0,
                          Discretization discretization);

/// The same function as the loop over time that defines it, in tensor ops: differentiable any number of times, slow.
ScanResult selective_scan_reference(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a,
                                    const at::Tensor& b, const at::Tensor& c, const at::Tensor& d, const at::Tensor& h0,
                                    Discretization discretization);

}  // namespace colonnade::mamba
