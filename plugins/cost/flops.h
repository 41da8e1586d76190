#pragma once

#include <string>
#include <vector>

#include "colonnade/tensor/model.h"

namespace colonnade {

// Floating-point operations of one site or of work outside the sites, for one token on average; a multiply-add is two.
struct CostItem {
  std::string name;
  int layer = -1;
  bool masked = false;                   // some of its weights are masked to zero
  double nominal = 0;                    // zeros of masked weights skipped
  double executed = 0;                   // by the dense kernels that run
  std::int64_t elements = 0, zeros = 0;  // of the site's weight as it is applied
};

// What a forward pass over a sequence of `length` tokens costs, divided by `length`:
//   linear      2 · rows · columns a use; its low-rank part 2 · r · (rows + columns)
//   conv1d      2 · channels · width
//   vector      one an element (a product with it or its addition)
//   embedding   nothing as a look-up; as the head (its second role) 2 · rows · columns
//   no S        nothing: a linear site whose weight is all in its low-rank part or an adapter
//   adapters    a low-rank update beside an unmasked linear site 2 · r · (rows + columns); scales of linears and
//               convolutions one an element
//   the rest    as the architecture declares it (scan, norms, gates)
// Masks that are still learned count by what evaluation keeps. What is done once a pass to form a weight (masks,
// references, scales of vectors, updates that a mask, a convolution or an embedding takes up, low-rank parts of the
// latter) is left out: folding it in takes it away.
std::vector<CostItem> count_flops(const Model& model, std::int64_t length);

}  // namespace colonnade
