#pragma once

#include <string>
#include <vector>

#include "colonnade/op.h"
#include "colonnade/tensor/model.h"
#include "colonnade/tensor/selector.h"

namespace colonnade {

// What ops share that change the weights of a model that stays: dropping, projecting, truncating, compensating.

// Which part of a weight a method works on.
enum class Of {
  delta,    // S + U Vᵀ, what differs from the reference; the reference stays
  weights,  // all of W; a reference goes into S first, and with it a mask that no longer holds
};
// The parameter `of` of such an op: "delta", "weights", or absent: delta where a site has a reference, else weights.
Param of_param();
// What it means for one site. Throws Error(usage) where "delta" is asked for and there is no reference.
Of of_site(const OpContext& context, const Model& model, const std::string& site);

// A copy whose weights at `sites` may be written, with the adapters there folded in; hooks of a plugin whose last
// adapter that was are gone. `biases` makes the sites' biases writable too.
Model editable_copy(const Model& source, const std::vector<std::string>& sites, bool biases = false);

// R + S becomes S. Reports whether a mask had to be given up for it.
EditReport drop_reference(SiteWeight& weight);

// Every finite number of a weight is meant; NaN and infinities are refused by name of site and part.
void require_finite(const SiteWeight& weight, const std::string& site);

// A table with a row an edited site: site, layer, rows, columns, low_rank, rank, gave_up_mask, requested_norm,
// lost_norm, then columns of the op's own.
Table edit_table(const std::vector<std::pair<std::string, std::string>>& own_columns = {});
void add_edit(Table& table, const SiteSpec& site, const EditReport& edit, const std::vector<Json>& own_cells = {});

}  // namespace colonnade
