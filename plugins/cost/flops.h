#pragma once

#include <string>
#include <vector>

#include "colonnade/tensor/model.h"

namespace colonnade {

// Floating-point operations of one site or of work outside the sites, for one token on average; a multiply-add is two.
struct CostItem {
  std::string name;
  int layer = -1;
  bool masked = false;   // some of its weights are masked to zero
  double nominal = 0;    // zeros of masked weights skipped
  double executed = 0;   // by the dense kernels that run
  std::int64_t elements = 0, zeros = 0;  // of the site's weight as it is applied
};

// What a forward pass over a sequence of `length` tokens costs, divided by `length`:
//   linear      2 · rows · columns a use; its low-rank part 2 · r · (rows + columns)
//   conv1d      2 · channels · width
//   embedding   nothing as a look-up; as the head (its second role) 2 · rows · columns
//   adapters    LoRA-like updates as branches 2 · r · (rows + columns), or with a mask the product that forms the masked matrix is
//               left out of the token's cost; scales one operation an element
//   the rest    as the architecture declares it (scan, norms, gates)
// Masks that are still learned count by what evaluation keeps.
std::vector<CostItem> count_flops(const Model& model, std::int64_t length);

}  // namespace colonnade
