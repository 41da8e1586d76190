#pragma once

#include "form.h"

namespace colonnade::realize {

// y [n, height] = x [n, width] times the transpose of a sparse form's matrix.
Tensor sparse_product(const RunningForm& form, const Tensor& x);
// The same by the obvious loop: its definition. Sums go over a row's elements in order.
Tensor sparse_product_plain(const RunningForm& form, const Tensor& x);

}  // namespace colonnade::realize
