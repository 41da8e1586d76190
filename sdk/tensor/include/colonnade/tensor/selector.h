#pragma once

#include <string>
#include <vector>

#include "colonnade/op.h"
#include "colonnade/tensor/model.h"

namespace colonnade {

// A site chosen by a selector, with the rows it was narrowed to (none: the whole site).
struct SelectedSite {
  std::string name;
  std::vector<Part> rows;
};

// The one grammar for choosing sites. Terms joined by ","; a term that starts with "!" takes away from what stands before it.
//   "*.x_proj"        names by pattern (* any run of characters, ? one)
//   "*.x_proj#B"      only the part B of these
//   "role:in_proj"    by role
//   "kind:linear"     by kind: linear, conv1d, embedding, vector
//   "layer:8..15"     by layer, inclusive; "layer:3" one
//   "all"             every site
// Terms may be joined by "&" to hold together: "kind:linear&layer:0..3". The result is in the model's order. A term that matches
// nothing, or a grammar mistake, throws Error(usage) with what there is and the nearest name.
std::vector<SelectedSite> select_sites(const Model& model, const std::string& selector);
// The same for an op's own default: terms that match nothing in this model are passed over, and only an empty selection is an error.
std::vector<SelectedSite> select_present_sites(const Model& model, const std::string& selector);
// What an op's parameter `sites` chooses; where it is absent, `fallback` as far as the model has it.
std::vector<SelectedSite> chosen_sites(const OpContext& context, const Model& model, const std::string& fallback);
std::vector<std::string> selected_names(const std::vector<SelectedSite>& selection);

}  // namespace colonnade
