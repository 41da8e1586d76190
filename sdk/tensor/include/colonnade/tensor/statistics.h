#pragma once

#include <map>
#include <string>
#include <vector>

#include "colonnade/tensor/model.h"

namespace colonnade {

// Second moments of what linear sites are given, over some data (type "statistics"). Methods that weigh by activations,
// or keep out of their way, need no more of the data than this.
struct SiteStatistics {
  Tensor gram;             // K Kᵀ = Σ x xᵀ over all positions, [columns, columns] f64
  std::int64_t count = 0;  // positions
};

struct Statistics {
  std::map<std::string, SiteStatistics> sites;

  // Throws Error(input) naming the site, and the sites there are, if it was not collected or does not fit.
  const SiteStatistics& at(const SiteSpec& site) const;
};

// Passes the batches through the model. Throws Error(usage) for sites that are not linear, Error(input) for one that
// the model never uses on this data or that is given something not finite.
Statistics collect_statistics(const Model& model, const std::vector<std::string>& sites,
                              const std::vector<Batch>& batches);

Field to_field(const Statistics& statistics);
Statistics statistics_from(const Field& field);  // throws Error(input)

}  // namespace colonnade
