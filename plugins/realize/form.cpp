#include "form.h"

#include <ATen/Functions.h>

#include <array>
#include <limits>

#include "colonnade/error.h"
#include "sparse_product.h"

namespace colonnade::realize {

namespace {

constexpr std::int64_t short_indices = std::int64_t{1} << 16;

Tensor lines_that_hold(const Tensor& matrix, int along) {
  return (matrix != 0).any(along).nonzero().reshape({-1});
}

Tensor wide_indices(const RunningForm& form) {
  const Tensor wide = form.indices.to(at::kLong);
  return form.indices.scalar_type() == at::kShort ? wide.bitwise_and(short_indices - 1) : wide;
}

Tensor compact_product(const RunningForm& form, const Tensor& x, at::IntArrayRef shape) {
  const Tensor input = form.columns.defined() ? x.index_select(-1, form.columns) : x;
  const Tensor y = at::linear(input, form.core);
  return form.rows.defined() ? at::zeros(shape, x.options()).index_copy_(-1, form.rows, y) : y;
}

}  // namespace

std::int64_t RunningForm::bytes() const {
  std::int64_t sum = 0;
  for (const Tensor& tensor : {core, rows, columns, offsets, indices, values}) {
    if (tensor.defined()) sum += static_cast<std::int64_t>(tensor.nbytes());
  }
  return sum;
}

RunningForm sparse_form(const Tensor& matrix) {
  RunningForm form;
  form.height = matrix.size(0);
  form.width = matrix.size(1);
  const Tensor holds = matrix != 0;
  const Tensor counts = holds.sum(1).cumsum(0);
  if (counts[-1].item<std::int64_t>() > std::numeric_limits<std::int32_t>::max()) {
    throw Error(ErrorKind::input, "a matrix has too many numbers for the sparse form");
  }
  form.offsets = at::cat({at::zeros({1}, at::kLong), counts}).to(at::kInt);
  form.indices = holds.nonzero().select(1, 1).to(form.width <= short_indices ? at::kShort : at::kInt).contiguous();
  form.values = matrix.masked_select(holds).reshape({1, -1});
  return form;
}

RunningForm compact_form(const Tensor& matrix) {
  RunningForm form;
  form.height = matrix.size(0);
  form.width = matrix.size(1);
  const Tensor rows = lines_that_hold(matrix, 1), columns = lines_that_hold(matrix, 0);
  form.core = matrix;
  if (rows.numel() < form.height) {
    form.rows = rows;
    form.core = form.core.index_select(0, rows);
  }
  if (columns.numel() < form.width) {
    form.columns = columns;
    form.core = form.core.index_select(1, columns);
  }
  form.core = form.core.contiguous();
  return form;
}

Tensor product(const RunningForm& form, const Tensor& x) {
  auto shape = x.sizes().vec();
  shape.back() = form.height;
  if (!form.is_sparse()) return compact_product(form, x, shape);
  return sparse_product(form, x.reshape({-1, form.width})).reshape(shape);
}

Tensor dense_matrix(const RunningForm& form) {
  if (form.is_sparse()) {
    Tensor dense = at::zeros({form.height, form.width}, form.values.options());
    const Tensor rows = at::repeat_interleave(at::arange(form.height, at::kLong), form.offsets.diff().to(at::kLong));
    return dense.index_put_({rows, wide_indices(form)}, form.values.reshape({-1}));
  }
  const Tensor rows = form.rows.defined() ? form.rows : at::arange(form.height, at::kLong);
  const Tensor columns = form.columns.defined() ? form.columns : at::arange(form.width, at::kLong);
  Tensor dense = at::zeros({form.height, form.width}, form.core.options());
  return dense.index_put_({rows.reshape({-1, 1}), columns.reshape({1, -1})}, form.core);
}

}  // namespace colonnade::realize
