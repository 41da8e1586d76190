// Dropping rows, columns and the variables of a model's symmetries.
#pragma once

#include <string>
#include <vector>

#include "colonnade/tensor/model.h"

namespace colonnade::dare {

/// Which rows and columns of a site are decided about, and which of them survive. Undefined: none is decided about.
struct AxisDrop {
  Tensor governed_rows, kept_rows;        // bool [rows]
  Tensor governed_columns, kept_columns;  // bool [columns]
};

struct StructuredRule {
  std::string
      structure;  // "rows", "columns", or a kind of axis of the model's symmetries: "heads", "channels", "hidden"
  double rate = 0;
  bool exact = false;
  RandomStream random;  // of the op
};

/// What the rule decides at each of `sites`, in their order. Rows and columns have numbers of their own at every site;
/// the variables of a symmetry have one each, so that all its members lose the same ones. Throws Error(usage) where a
/// structure is unknown to the model, or touches no chosen site, naming what there is.
std::vector<AxisDrop> decide_axes(const Model& model, const std::vector<std::string>& sites,
                                  const StructuredRule& rule);

/// bool [rows, columns] of what survives.
Tensor spread(const AxisDrop& drop, std::int64_t rows, std::int64_t columns);
/// bool [rows, columns] of what is decided about.
Tensor governed_by(const AxisDrop& drop, std::int64_t rows, std::int64_t columns);
/// Multiplies what is decided about by `factor`: an element in a decided row and a decided column twice.
void scale_governed(Tensor& matrix, const AxisDrop& drop, double factor);

/// The same of U Vᵀ: a dropped row of S is a dropped row of U, a dropped column a row of V.
void drop_low_rank(SiteWeight& weight, const AxisDrop& drop, double factor);

}  // namespace colonnade::dare
