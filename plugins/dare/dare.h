// Drop and rescale, site by site.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "colonnade/tensor/editing.h"
#include "history.h"
#include "structured.h"

namespace colonnade::dare {

enum class Strategy { uniform, magnitude, structured };
enum class Rescale { inverse_keep, l1, fitted, none };

struct DareOptions {
  Strategy strategy = Strategy::uniform;
  Rescale rescale = Rescale::inverse_keep;
  double rate = 0;
  bool exact = false;
  bool low_rank = false;  // structured only: rows and columns of U Vᵀ go with S's
  std::string structure;
  RandomStream random;  // of the op: the same at every use under one seed
};

/// Elements that a task takes: sums are per task and added in order, so that threads change nothing.
inline constexpr std::int64_t kTaskElements = 1 << 18;

/// What happened to one site.
struct SiteDrop {
  std::string site;
  EditReport edit;
  AxisDrop axes;             // structured
  double earlier_rate = 0;   // by the same rule, before
  double earlier_scale = 1;  // of what survived it
  double rate = 0;           // now, in all
  double factor = 1;         // applied now
  std::uint64_t threshold = 0;
  std::int64_t kept = 0;      // elements of S that the mask keeps
  std::int64_t governed = 0;  // elements that were decided about
  bool continued = false;

  double total_scale() const { return earlier_scale * factor; }
};

/// The name under which the history knows these numbers.
std::string rule_name(const DareOptions& options);

/// Drops at `sites` of a model whose weights there may be written, and rescales unless `fitted`, which is the caller's
/// to do. Throws Error(input) where an earlier use's zeros are not where its numbers put them.
std::vector<SiteDrop> drop_sites(Model& model, const std::vector<std::string>& sites, const DareOptions& options,
                                 const Past& past);

/// Multiplies what a drop decided about by `factor`, in place of none so far.
void rescale_site(SiteWeight& weight, SiteDrop& drop, double factor, bool low_rank);

/// The total scale in [1, 1/(1 - rate)] under which the outputs differ least from `wanted`: `difference` gives the
/// squared difference at a scale. A coarse grid, then golden sections.
double fit_scale(double rate, const std::function<double(double)>& difference);

Value drop_weights(OpContext& context);
/// The same on files of weights, which need not be of a model that anything here knows.
Value drop_files(OpContext& context);

}  // namespace colonnade::dare
