// A linear weight, or its S, in a form that products run in.
#pragma once

#include <cstdint>
#include <string>

#include "colonnade/tensor/model.h"

namespace colonnade::realize {

/// Either compact, a dense core at some rows and columns of W, or sparse, row by row; what is undefined is not there.
struct RunningForm {
  std::int64_t height = 0, width = 0;  // of W
  Tensor core;                         // [kept rows, kept columns]
  Tensor rows, columns;                // i64, ascending: where they are in W; undefined: all
  Tensor offsets;                      // i32 [height + 1]: where each row of the sparse matrix begins
  Tensor indices;                      // [nnz] the columns, ascending in a row: i32, or i16 read without sign
  Tensor values;                       // [1, nnz]

  bool is_sparse() const { return values.defined(); }
  const char* name() const { return is_sparse() ? "sparse" : "compact"; }
  std::int64_t bytes() const;
  std::int64_t numbers() const { return is_sparse() ? values.numel() : core.numel(); }
};

/// W row by row. At most 2^31 - 1 of its numbers may be other than zero.
RunningForm sparse_form(const Tensor& matrix);
/// W by the rows and columns that are not all zero.
RunningForm compact_form(const Tensor& matrix);

/// y = W x, x [..., width] -> [..., height].
Tensor product(const RunningForm& form, const Tensor& x);
/// W as a dense matrix [height, width].
Tensor dense_matrix(const RunningForm& form);

/// The adapter that computes a site's weight in a form, beside an empty S. It neither trains nor lets itself be
/// permuted; folding it gives the dense weight back.
std::shared_ptr<Adapter> running_adapter(RunningForm form);
AdapterType running_adapter_type();
/// The form at the site; nullptr if there is none.
const RunningForm* running_form(const Model& model, const std::string& site);
/// What such adapters are called at sites, without the format.
inline constexpr const char* running_adapter_name = "realize/form";

}  // namespace colonnade::realize
