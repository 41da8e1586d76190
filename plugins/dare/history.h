// What dare did to a model before, so that a schedule is cumulative.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "colonnade/tensor/model.h"

namespace colonnade::dare {

/// One use of a rule on a site.
struct Earlier {
  double rate = 0;              // dropped so far
  double scale = 1;             // of the survivors so far
  std::uint64_t threshold = 0;  // words below it are gone
};

/// How the rule that drops single elements by their numbers begins; the key of the op's numbers follows.
inline constexpr const char* kElementRule = "uniform/";

/// What was done so far, by site, then by rule: a strategy with the key of its random numbers.
using Rules = std::map<std::string, std::map<std::string, Earlier>>;

/// Where the rows and columns of a site were when the model was first thinned, i64; undefined: where they are.
struct SiteOrder {
  Tensor rows, columns;

  bool moved() const { return rows.defined() || columns.defined(); }
};

struct Past {
  Rules rules;
  std::map<std::string, SiteOrder> orders;  // of the sites that were moved since

  SiteOrder order(const std::string& site) const;
};

/// Kept with the model as a hook that does nothing while it trains, and follows where a permutation takes elements.
HookType history_type();
Past past_of(const Model& model);
void set_past(Model& model, const Past& past);

}  // namespace colonnade::dare
